// Package app builds Watchpost's graphs out of its siblings, and runs them: the
// box (Program.Run), one analysis without a server (Program.Analyze), the model
// tools, and a media worker (Program.Worker). It alone imports its siblings.
package app
