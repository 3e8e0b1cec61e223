// Package issuer mints what NATS servers trust: the operator, account claims and user claims, with strict
// signing keys at each level.
//
// The control home mints accounts, every hub mints users, making a mesh mints the operator. An Operator is
// immutable and safe for concurrent use; the functions are too.
//
// Identity keys sign nothing but their own claim: accounts are signed by the operator's signing key, users
// by their account's. An account's default permissions deny everything, so a user whose claim lacks
// permissions gets none.
package issuer
