package ledger

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/codenotary/immudb/pkg/api/schema"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"albs/internal/albs"
	"albs/internal/disk"
)

const (
	// maxCalls bounds the calls that are on their way at once. The server fails those
	// that find more than 30 transactions being read or written, by whomever.
	maxCalls = 4
	// callTime bounds a call.
	callTime = 15 * time.Second
	// aliveEach is after how long without a word a call has the connection asked whether it
	// still leads somewhere, and aliveTime how long that may take. Without it a connection
	// to a machine that is gone is kept, and fails every call, for a quarter of an hour.
	// Together they are no longer than a call.
	aliveEach = 10 * time.Second
	aliveTime = 5 * time.Second
	// busyPause is between two tries of a call that the server was too busy for.
	busyPause = 50 * time.Millisecond
	// maxMessage bounds what the server may answer; a transaction of ours has less.
	maxMessage = 40 << 20
	// maxPEM bounds the files that the configuration names.
	maxPEM = 1 << 20
)

// ServerConfig says where an immudb server is and who albs is there.
type ServerConfig struct {
	Address  string `yaml:"address"`  // HOST:PORT
	Database string `yaml:"database"` // it must be there
	User     string `yaml:"user"`     // may read and write that database
	// PasswordFile names the file with the user's password, which whoever reads the
	// configuration puts into Password.
	PasswordFile string `yaml:"password_file"`
	Password     string `yaml:"-"`
	// TLS encrypts what is said, and has the server show a certificate for its host.
	TLS bool `yaml:"tls"`
	// CAFile has the authorities for that certificate, beside the system's.
	CAFile string `yaml:"ca_file"`
	// SigningKeyFile has the public key by which the server signs its states; with it
	// a state that isn't is refused.
	SigningKeyFile string `yaml:"signing_key_file"`
}

// Check returns what is wrong with the configuration as it is written, as Invalid.
func (c ServerConfig) Check() error {
	host, port, err := net.SplitHostPort(c.Address)
	switch {
	case err != nil || host == "" || port == "":
		return albs.Errorf(albs.Invalid, "address: %.200q isn't HOST:PORT", c.Address)
	case c.Database == "" || c.Database != strings.ToLower(c.Database) || len(c.Database) > 128:
		return albs.Errorf(albs.Invalid, "database: %.200q isn't the name of a database, in lower case", c.Database)
	case c.User == "" || len(c.User) > 128:
		return albs.Errorf(albs.Invalid, "user: the server wants one")
	case c.PasswordFile == "":
		return albs.Errorf(albs.Invalid, "password_file: the user has a password")
	case c.CAFile != "" && !c.TLS:
		return albs.Errorf(albs.Invalid, "ca_file is for tls: true")
	}
	return nil
}

// InClear reports whether the password and all entries go to another host unencrypted.
func (c ServerConfig) InClear() bool {
	host, _, err := net.SplitHostPort(c.Address)
	return err == nil && !c.TLS && host != "localhost" && !net.ParseIP(host).IsLoopback()
}

// Server is a Ledger in a database of an immudb server. Several masters may share
// one. The first of them writes an entry with the ledger's random id, and what else
// lies in the database stays as it is; of a key that others have written it is the
// first value that counts.
//
// It connects when it is asked something, and again after the server was away. The
// server is believed no more than a directory is: every value and proof is checked,
// and that it continues what its user remembers is for Check.
type Server struct {
	config ServerConfig
	signed *ecdsa.PublicKey // nil: states need not be

	conn   *grpc.ClientConn
	client schema.ImmuServiceClient
	calls  chan struct{} // a token per call that runs
	writer *writer

	mu     sync.RWMutex // held for reading by every call, for writing by Close
	closed bool

	known   sync.Mutex // what was learned of the server
	session string
	id      string
	keys    map[string]bool // of the first transaction
}

// OpenServer returns the ledger on the server that c names. It reads c's certificates
// and keys and asks the server nothing. Invalid if c is wrong or a file can't be used.
func OpenServer(c ServerConfig) (*Server, error) {
	if err := c.Check(); err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	s := &Server{config: c, calls: make(chan struct{}, maxCalls)}
	if c.Password == "" {
		return nil, albs.Errorf(albs.Invalid, "ledger: the user %s has no password", c.User)
	}
	var err error
	if c.SigningKeyFile != "" {
		if s.signed, err = publicKey(c.SigningKeyFile); err != nil {
			return nil, err
		}
	}
	secure := insecure.NewCredentials()
	if c.TLS {
		if secure, err = c.transport(); err != nil {
			return nil, err
		}
	}
	s.conn, err = grpc.NewClient("passthrough:///"+c.Address,
		grpc.WithTransportCredentials(secure), grpc.WithNoProxy(), grpc.WithDisableServiceConfig(),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: aliveEach, Timeout: aliveTime}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)))
	if err != nil {
		return nil, albs.Errorf(albs.Invalid, "ledger: %w", err)
	}
	s.client = schema.NewImmuServiceClient(s.conn)
	s.writer = startWriter(s)
	return s, nil
}

func (c ServerConfig) transport() (credentials.TransportCredentials, error) {
	pool, err := x509.SystemCertPool()
	if err != nil {
		return nil, fmt.Errorf("ledger: read the system's authorities: %w", err)
	}
	if c.CAFile != "" {
		b, err := disk.ReadFile(c.CAFile, maxPEM)
		if err != nil {
			return nil, albs.Errorf(albs.Invalid, "ledger: ca_file: %w", err)
		}
		if !pool.AppendCertsFromPEM(b) {
			return nil, albs.Errorf(albs.Invalid, "ledger: ca_file %s has no certificate in PEM", c.CAFile)
		}
	}
	host, _, err := net.SplitHostPort(c.Address)
	return credentials.NewTLS(&tls.Config{RootCAs: pool, ServerName: host, MinVersion: tls.VersionTLS12}), err
}

func publicKey(path string) (*ecdsa.PublicKey, error) {
	b, err := disk.ReadFile(path, maxPEM)
	if err != nil {
		return nil, albs.Errorf(albs.Invalid, "ledger: signing_key_file: %w", err)
	}
	if block, _ := pem.Decode(b); block != nil {
		if key, err := x509.ParsePKIXPublicKey(block.Bytes); err == nil {
			if key, ok := key.(*ecdsa.PublicKey); ok {
				return key, nil
			}
		}
	}
	return nil, albs.Errorf(albs.Invalid, "ledger: signing_key_file %s has no public ECDSA key in PEM", path)
}

// enter begins a call of the interface: the ledger stays open until leave.
func (s *Server) enter() (leave func(), err error) {
	s.mu.RLock()
	if s.closed {
		s.mu.RUnlock()
		return nil, albs.Errorf(albs.Unavailable, "the ledger is closed")
	}
	return s.mu.RUnlock, nil
}

// Close implements Ledger.
func (s *Server) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	s.writer.stop()
	if s.session != "" {
		ctx, cancel := context.WithTimeout(s.in(context.Background(), s.session), time.Second)
		defer cancel()
		// If this fails the server ends the session by itself.
		_, _ = s.client.CloseSession(ctx, &emptypb.Empty{})
	}
	if err := s.conn.Close(); err != nil {
		return fmt.Errorf("close ledger: %w", err)
	}
	return nil
}

// call makes one call within a session: a few at a time, in bounded time, and once
// more if the server has forgotten the session. An error has its kind.
func (s *Server) call(ctx context.Context, what string, f func(ctx context.Context) error) error {
	select {
	case s.calls <- struct{}{}:
		defer func() { <-s.calls }()
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", what, ctx.Err())
	}
	bound, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	for renewed := false; ; {
		session, err := s.enterSession(bound)
		if err == nil {
			err = f(s.in(bound, session))
		}
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("%s: %w", what, ctx.Err())
		case says(err, "session not found", "no session found") && !renewed:
			s.forget(session)
			renewed = true
		case says(err, "max concurrency limit exceeded"):
			select {
			case <-time.After(busyPause):
			case <-bound.Done():
				return albs.Errorf(albs.Unavailable, "%s: the ledger's server is too busy", what)
			}
		default:
			return serverError(err, what)
		}
	}
}

func (s *Server) in(ctx context.Context, session string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "sessionid", session)
}

// enterSession returns the session, which it opens if there is none.
func (s *Server) enterSession(ctx context.Context) (string, error) {
	s.known.Lock()
	defer s.known.Unlock()
	if s.session == "" {
		r, err := s.client.OpenSession(ctx, &schema.OpenSessionRequest{
			Username: []byte(s.config.User), Password: []byte(s.config.Password), DatabaseName: s.config.Database,
		})
		if err != nil {
			return "", err
		}
		s.session = r.GetSessionID()
	}
	return s.session, nil
}

func (s *Server) forget(session string) {
	s.known.Lock()
	defer s.known.Unlock()
	if s.session == session {
		s.session = ""
	}
}

// says reports whether the server's error has one of these texts: it gives most of
// its errors no code.
func says(err error, texts ...string) bool {
	msg := status.Convert(err).Message()
	for _, t := range texts {
		if strings.Contains(msg, t) {
			return true
		}
	}
	return false
}

// serverError gives an error of the server its kind and says what was tried.
func serverError(err error, what string) error {
	var own *albs.Error
	if errors.As(err, &own) || errors.Is(err, errThere) {
		return err
	}
	msg := status.Convert(err).Message()
	switch code := status.Code(err); {
	case code == codes.FailedPrecondition && says(err, "precondition failed"):
		return errThere
	case says(err, "key not found", "invalid key revision"):
		return albs.Errorf(albs.NotFound, "%s: the ledger has no such entry", what)
	case says(err, "tx not found", "illegal state"):
		return albs.Errorf(albs.Conflict, "%s: the ledger hasn't come as far", what)
	case says(err, "corrupt", "mismatch"):
		return albs.Errorf(albs.Internal, "%s: the ledger's server says: %.500s", what, msg)
	case says(err, "invalid user name or password", "database does not exist", "does not have permission", "user is not active"), code == codes.PermissionDenied, code == codes.Unauthenticated:
		return albs.Errorf(albs.Forbidden, "%s: the ledger's server refuses: %.500s", what, msg)
	default: // it is away, its disk is full, it is kept for maintenance
		return albs.Errorf(albs.Unavailable, "%s: the ledger's server: %.500s", what, msg)
	}
}

// identity returns the ledger's id, giving it one if it has none. That it is asked
// once is no trust: another ledger doesn't continue what is remembered of this one.
func (s *Server) identity(ctx context.Context) (string, error) {
	s.known.Lock()
	id := s.id
	s.known.Unlock()
	if id != "" {
		return id, nil
	}
	value, _, err := s.first(ctx, []byte(idKey))
	if errors.Is(err, albs.NotFound) {
		raw := make([]byte, 16)
		rand.Read(raw) // never fails, by its contract
		err = s.call(ctx, "give the ledger an id", func(ctx context.Context) error {
			_, err := s.client.Set(ctx, &schema.SetRequest{
				KVs:           []*schema.KeyValue{{Key: []byte(idKey), Value: []byte(hex.EncodeToString(raw))}},
				Preconditions: []*schema.Precondition{schema.PreconditionKeyMustNotExist([]byte(idKey))},
			})
			return err
		})
		if err == nil || errors.Is(err, errThere) { // another master was first
			value, _, err = s.first(ctx, []byte(idKey))
		}
	}
	if err != nil {
		return "", err
	}
	if raw, err := hex.DecodeString(string(value)); err != nil || len(raw) != 16 {
		return "", albs.Errorf(albs.Internal, "the ledger's entry %s holds no id", idKey)
	}
	s.known.Lock()
	defer s.known.Unlock()
	s.id = string(value)
	return s.id, nil
}

// State implements Ledger.
func (s *Server) State(ctx context.Context) (State, error) {
	leave, err := s.enter()
	if err != nil {
		return State{}, err
	}
	defer leave()
	return s.state(ctx)
}

func (s *Server) state(ctx context.Context) (State, error) {
	id, err := s.identity(ctx)
	if err != nil {
		return State{}, err
	}
	var now *schema.ImmutableState
	err = s.call(ctx, "read the ledger's state", func(ctx context.Context) (err error) {
		now, err = s.client.CurrentState(ctx, &emptypb.Empty{})
		return err
	})
	if err != nil {
		return State{}, err
	}
	if s.signed != nil {
		if err := now.CheckSignature(s.signed); err != nil || now.GetDb() != s.config.Database {
			return State{}, albs.Errorf(albs.Internal, "the ledger's server gave a state that the key of signing_key_file didn't sign for database %s", s.config.Database)
		}
	}
	alh, err := digest32(now.GetTxHash())
	return State{Ledger: id, TxID: now.GetTxId(), Alh: digestOf(alh)}, err
}
