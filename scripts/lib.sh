# shellcheck shell=bash
# What the other scripts share: where things are, and which Go builds them.
# Sourced, never run. It starts few processes: scripts/run goes through here at
# every start of the box.

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
data=$root/data

# Go as pinned here is fetched when the machine has none, or one older than go.mod asks for.
go_pin=1.26.8

say() { printf 'setup: %s\n' "$*" >&2; }
die() {
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

# new_enough HAVE WANT: both as 1.26 or 1.26.8.
new_enough() {
	local have want i
	IFS=. read -r -a have <<<"$1"
	IFS=. read -r -a want <<<"$2"
	for i in 0 1 2; do
		((${have[i]:-0} > ${want[i]:-0})) && return 0
		((${have[i]:-0} < ${want[i]:-0})) && return 1
	done
	return 0
}

# find_go puts a Go that is new enough first on PATH; 1 when there is none.
find_go() {
	local want have candidate
	want=$(sed -n 's/^go \([0-9.]*\).*/\1/p' "$root/go.mod")
	for candidate in go /usr/local/go/bin/go "$data/go/bin/go"; do
		# GOTOOLCHAIN=local: what it is, not what it could download.
		have=$(cd / && GOTOOLCHAIN=local "$candidate" env GOVERSION 2>/dev/null) || continue
		have=${have#go}
		have=${have%%[!0-9.]*}
		if new_enough "$have" "$want"; then
			[[ $candidate == go ]] || PATH=${candidate%/go}:$PATH
			export PATH GOTOOLCHAIN=local
			return 0
		fi
	done
	return 1
}

# need_go is find_go for scripts that come after setup.
need_go() {
	find_go || die "no Go as new as go.mod asks for: run scripts/setup"
}

# use_library tells the program and the tests which ONNX Runtime to load.
use_library() {
	if [[ -z ${WATCHPOST_ORT_LIBRARY:-} && -e $data/lib/libonnxruntime.so.1 ]]; then
		export WATCHPOST_ORT_LIBRARY=$data/lib/libonnxruntime.so.1
	fi
}
