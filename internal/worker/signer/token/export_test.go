//go:build pkcs11

package token

// Module is what a token needs of its library, for tests to have it fail.
type Module = module

// OpenModule opens a token of a library that is loaded.
var OpenModule = openModule
