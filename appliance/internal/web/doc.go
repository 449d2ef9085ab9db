// Package web holds the pages: built from ui (TypeScript, Vite), committed under
// dist, embedded in the binary and served from memory.
//
// The pages need nothing from outside the box. To change them: edit ui, then
// "npm ci && npm run build" there, and commit dist with it; a test notices pages
// that were not built from the sources beside them.
package web
