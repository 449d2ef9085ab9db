// Package api is the box's HTTP front door: routes, sign-in, the OpenAPI
// document and the one mapping from errors to HTTP statuses.
//
// It owns no camera, model or device: what it shows comes through Deps, and a
// reader of its event streams can be as slow as it likes without holding up
// whoever produces the events. Everything but /healthz, the sign-in page and the
// pages' static files is guarded; see guard for who is let in without a password.
package api
