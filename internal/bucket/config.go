package bucket

import (
	"net/url"
	"path"
	"strings"

	"albs/internal/albs"
)

// Config says where a bucket is and who asks. The zero value is no bucket.
type Config struct {
	// Endpoint is the server's URL, without a path.
	Endpoint string `yaml:"endpoint"`
	// Bucket is the name of the bucket, which has to be there.
	Bucket string `yaml:"bucket"`
	// Prefix is what the names of all objects begin with, without slashes around it.
	Prefix string `yaml:"prefix"`
	// Region is the bucket's region; "" is us-east-1.
	Region string `yaml:"region"`
	// AccessKeyFile and SecretKeyFile hold the two halves of the credentials.
	AccessKeyFile string `yaml:"access_key_file"`
	SecretKeyFile string `yaml:"secret_key_file"`
	// CAFile is a PEM file of an authority trusted beside the system's.
	CAFile string `yaml:"ca_file"`

	// AccessKey and SecretKey are what those files hold.
	AccessKey string `yaml:"-"`
	SecretKey string `yaml:"-"`
}

// Check returns what is wrong with the configuration as it is written, as Invalid.
func (c Config) Check() error {
	if c == (Config{}) {
		return nil
	}
	u, err := url.Parse(c.Endpoint)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return albs.Errorf(albs.Invalid, "endpoint %.200q: give http:// or https://, a host and perhaps a port, and nothing else", c.Endpoint)
	case c.Bucket == "":
		return albs.Errorf(albs.Invalid, "bucket is missing")
	case c.Prefix != "" && (path.Clean("/"+c.Prefix) != "/"+c.Prefix || len(c.Prefix) > 200):
		return albs.Errorf(albs.Invalid, "prefix %.250q: give at most 200 bytes without slashes at its ends or two in a row", c.Prefix)
	case c.AccessKeyFile == "" || c.SecretKeyFile == "":
		return albs.Errorf(albs.Invalid, "access_key_file and secret_key_file have to name the files of the credentials")
	}
	return nil
}
