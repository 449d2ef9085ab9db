package api

import (
	"errors"
	"net/http"
	"strconv"
)

const signInLimit = 4 << 10 // bytes of a sign-in form

// SignInPage writes the sign-in page: status, where to go afterwards (a path on
// this box), and a message for the user, which may be empty.
type SignInPage func(w http.ResponseWriter, r *http.Request, status int, next, message string)

// signIn shows the page (GET) and takes the password (POST).
func (g *guard) signIn(page SignInPage) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Method {
		case http.MethodGet, http.MethodHead:
			message := ""
			if g.password == "" {
				message = "This box has no password yet: it can be reached from itself only."
			}
			page(w, r, http.StatusOK, safeNext(r.URL.Query().Get("next")), message)
			return
		case http.MethodPost:
		default:
			w.Header().Set("Allow", "GET, HEAD, POST")
			http.Error(w, "Use GET or POST.", http.StatusMethodNotAllowed)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, signInLimit)
		if err := r.ParseForm(); err != nil {
			page(w, r, http.StatusBadRequest, "/", "The form could not be read. Try again.")
			return
		}
		next := safeNext(r.PostForm.Get("next"))
		if g.password == "" {
			page(w, r, http.StatusForbidden, next, "This box has no password yet: it can be reached from itself only.")
			return
		}
		if err := g.check(r, r.PostForm.Get("password")); err != nil {
			status := g.problems.of(err).Status
			var late *tooSoon
			if errors.As(err, &late) {
				w.Header().Set("Retry-After", strconv.Itoa(late.seconds()))
			}
			page(w, r, status, next, err.Error())
			return
		}
		token, ends := g.sessions.issue()
		http.SetCookie(w, &http.Cookie{
			Name: cookieName, Value: token, Path: "/", Expires: ends,
			HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: r.TLS != nil,
		})
		http.Redirect(w, r, next, http.StatusSeeOther)
	})
}

// signOut revokes the browser's session and goes to the sign-in page.
func (g *guard) signOut(w http.ResponseWriter, r *http.Request) {
	if c, err := r.Cookie(cookieName); err == nil {
		g.sessions.revoke(c.Value)
	}
	http.SetCookie(w, &http.Cookie{
		Name: cookieName, Path: "/", MaxAge: -1,
		HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: r.TLS != nil,
	})
	http.Redirect(w, r, "/sign-in", http.StatusSeeOther)
}
