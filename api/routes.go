package api

import (
	"slices"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/spec"
)

// route is one line of the API. The table is all that there is: the mux, the
// role matrix and the OpenAPI document are made from it.
type route struct {
	method, pattern string
	access          access
	summary         string
	query           []param
	in, out         any    // example values of the body's and the answer's type; nil: none
	limit           int64  // bytes of the body; 0 is maxBody
	stream          bool   // no overall time limit
	past            bool   // answers ?at too
	media           string // of the answer, where it is not JSON
	handle          handler
}

// param is a query parameter.
type param struct{ name, kind, text string }

var (
	pNetwork = param{"network", "string", "only of this network"}
	pWish    = param{"wish", "string", "only what this wish declared"}
	pIndex   = param{"index", "integer", "answer only once the log is past this index, or after wait"}
	pWait    = param{"wait", "string", "longest time to wait for index, as 10s; default 30s, at most 60s"}
	pBase    = param{"base", "integer", "instead of If-Match: the plan's base_index"}
)

func routes() []route {
	return withPast(slices.Concat(table(), moveRoutes(), trustRoutes(), foundRoutes()))
}

func table() []route {
	return []route{
		{method: "GET", pattern: "/v1/version", access: forAll, summary: "What answers here", out: Version{}, handle: (*Server).version},
		{method: "GET", pattern: "/v1/openapi.json", access: forAll, summary: "This document", out: map[string]any{}, handle: (*Server).openapi},
		{method: "GET", pattern: "/v1/status", access: forRead, summary: "The cluster in one screen", query: []param{pIndex, pWait}, out: Status{}, handle: (*Server).status},

		{method: "GET", pattern: "/v1/wishes", access: forRead, summary: "What was applied", out: []WishRow{}, handle: (*Server).listWishes},
		{method: "GET", pattern: "/v1/wishes/{name}", access: forRead, summary: "One wish as it was applied", out: spec.Wish{}, handle: (*Server).showWish},
		{method: "PUT", pattern: "/v1/wishes/{name}", access: forWrite, summary: "Make this wish the truth; If-Match holds the plan's base_index", query: []param{pBase}, in: spec.Wish{}, out: Applied{}, limit: maxWish, handle: (*Server).applyWish},
		{method: "DELETE", pattern: "/v1/wishes/{name}", access: forWrite, summary: "Remove all that the wish declared", query: []param{pBase}, out: Applied{}, handle: (*Server).destroyWish},
		{method: "POST", pattern: "/v1/plan", access: forRead, summary: "What applying this wish would do", in: spec.Wish{}, out: Plan{}, limit: maxWish, handle: (*Server).plan},
		{method: "GET", pattern: "/v1/rebalance", access: forRead, summary: "Moves that would level the cluster, the best first", query: []param{{"max", "integer", "at most so many, default 10"}}, out: []Shift{}, handle: (*Server).rebalance},
		{method: "POST", pattern: "/v1/what-if", access: forRead, summary: "Where jails would go if this happened", in: WhatIf{}, out: Outcome{}, limit: maxWish, handle: (*Server).whatIf},
		{method: "GET", pattern: "/v1/wishes/{name}/destroy-plan", access: forRead, summary: "What destroying this wish would do", out: Plan{}, handle: (*Server).destroyPlan},

		{method: "GET", pattern: "/v1/jails", access: forRead, summary: "All jails (ps)", query: []param{pNetwork, pWish, pIndex, pWait, pLimit, pAfter}, out: []JailRow{}, handle: (*Server).listJails},
		{method: "GET", pattern: "/v1/jails/{name}", access: forRead, summary: "One jail", out: JailShow{}, handle: (*Server).showJail},
		{method: "POST", pattern: "/v1/jails/{name}/start", access: forWrite, summary: "Want the jail running", out: Applied{}, handle: (*Server).startJail},
		{method: "POST", pattern: "/v1/jails/{name}/stop", access: forWrite, summary: "Want the jail stopped", out: Applied{}, handle: (*Server).stopJail},
		{method: "POST", pattern: "/v1/jails/{name}/restart", access: forWrite, summary: "Replace the jail's run by a new one", out: Applied{}, handle: (*Server).restartJail},
		{method: "GET", pattern: "/v1/jails/{name}/placement", access: forRead, summary: "What the scheduler thinks of every host for the jail", out: Placement{}, handle: (*Server).placement},
		{method: "POST", pattern: "/v1/jails/{name}/placement", access: forRead, summary: "The same for a wish as if it had been applied", in: spec.Wish{}, out: Placement{}, limit: maxWish, handle: (*Server).placementOf},
		{method: "DELETE", pattern: "/v1/jails/{name}", access: forWrite, summary: "Remove the jail once its run is over", out: Applied{}, handle: (*Server).removeJail},
		{
			method: "GET", pattern: "/v1/jails/{name}/logs", access: forEnter, summary: "The jail's output", stream: true, media: "text/plain",
			query: []param{{"follow", "boolean", "go on as it is written"}, {"until_end", "boolean", "with follow: until the jail's newest run is over"}, {"tail", "integer", "lines from the end; all if not given"}, {"since", "string", "time as 2026-01-31T15:04:05Z: what was written since then, and up to 5 s before"}}, handle: (*Server).logs,
		},
		{method: "POST", pattern: "/v1/jails/{name}/exec", access: forEnter, summary: "Run a command in the jail: upgrades the connection, see docs/reference/api.md", in: ExecRequest{}, stream: true, media: execProtocol, handle: (*Server).exec},

		{method: "GET", pattern: "/v1/networks", access: forRead, summary: "All networks", out: []NetworkRow{}, handle: (*Server).listNetworks},
		{method: "GET", pattern: "/v1/networks/{name}", access: forRead, summary: "One network", out: NetworkRow{}, handle: (*Server).showNetwork},
		{
			method: "GET", pattern: "/v1/settled", access: forRead, summary: "Answers once the networks of the host that is asked, published ports among them, are as the log had them at index",
			query: []param{{"index", "integer", "of the log; default the newest"}, pWait}, out: Settled{}, handle: (*Server).settled,
		},
		{method: "GET", pattern: "/v1/leases", access: forRead, summary: "Who has which address", query: []param{pNetwork, pLimit, pAfter}, out: []LeaseRow{}, handle: (*Server).listLeases},

		{method: "GET", pattern: "/v1/images", access: forRead, summary: "All image names", out: []ImageRow{}, handle: (*Server).listImages},
		{method: "GET", pattern: "/v1/images/{name}", access: forRead, summary: "One image name, and what it is made of", out: ImageShow{}, handle: (*Server).showImage},
		{method: "GET", pattern: "/v1/images/{name}/export", access: forEnter, summary: "The image's whole root file system, packed by zstd; Rex-Format says whether tar or zfs", query: []param{{"format", "string", "tar or zfs; default is that of the host's storage"}, pHost}, stream: true, media: zstdMedia, handle: atHolder((*Server).exportImage)},
		{method: "PUT", pattern: "/v1/images/{name}", access: forWrite, summary: "Give an image that was built its name", in: spec.Image{}, out: Applied{}, handle: (*Server).tagImage},
		{method: "DELETE", pattern: "/v1/images/{name}", access: forWrite, summary: "Remove a name that no jail uses", out: Applied{}, handle: (*Server).removeImage},
		{method: "POST", pattern: "/v1/images/{name}/debug", access: forEnter, summary: "Run a command in a throw-away jail on an image: upgrades the connection as exec does", query: []param{pHost}, in: ExecRequest{}, stream: true, media: execProtocol, handle: atHolder((*Server).debugImage)},
		{method: "POST", pattern: "/v1/images/gc", access: forWrite, summary: "Remove images and layers of one host which nobody needs", query: []param{pHost}, in: GCRequest{}, out: GCResult{}, stream: true, handle: atHost((*Server).collectImages)},
		{method: "GET", pattern: "/v1/builds", access: forRead, summary: "All image keys that exist somewhere", out: []BuildRow{}, handle: (*Server).listBuilds},
		{
			method: "POST", pattern: "/v1/images/build", access: forWrite, summary: "Build an image: multipart form of image (JSON) and context (tar); NDJSON of progress, then the result or an error",
			query: []param{{"tag", "boolean", "also give the image its name"}, {"keep", "boolean", "keep what a step that fails has left, as NAME:failed"}, {"timeout", "string", "longest time of one step, as 10m; the host's limit if that is shorter"}, pHost},
			out:   BuildLine{}, limit: maxContext, stream: true, media: ndjson, handle: atHost((*Server).buildImage),
		},

		{method: "GET", pattern: "/v1/volumes", access: forRead, summary: "Volumes of one host", query: []param{pHost}, out: []VolumeRow{}, handle: atHost((*Server).listVolumes)},
		{method: "GET", pattern: "/v1/volumes/{name}", access: forRead, summary: "One volume with its snapshots", query: []param{pHost}, out: VolumeShow{}, stream: true, handle: atHost((*Server).showVolume)},
		{method: "DELETE", pattern: "/v1/volumes/{name}", access: forWrite, summary: "Remove a volume that no jail has, with its snapshots", query: []param{pHost}, stream: true, out: VolumeRow{}, handle: atHost((*Server).removeVolume)},
		{method: "PUT", pattern: "/v1/volumes/{name}/snapshots/{snapshot}", access: forWrite, summary: "Make a snapshot of a volume", query: []param{pHost}, stream: true, out: VolumeSnapshot{}, handle: atHost((*Server).snapshotVolume)},
		{method: "DELETE", pattern: "/v1/volumes/{name}/snapshots/{snapshot}", access: forWrite, summary: "Remove a snapshot of a volume", query: []param{pHost}, stream: true, out: VolumeShow{}, handle: atHost((*Server).dropVolumeSnapshot)},
		{method: "POST", pattern: "/v1/volumes/{name}/rollback", access: forWrite, summary: "Make a volume that no jail has what it was at a snapshot", query: []param{pHost}, stream: true, in: RollbackRequest{}, out: VolumeShow{}, handle: atHost((*Server).rollbackVolume)},

		{method: "GET", pattern: "/v1/clock", access: forRead, summary: "How right the clock of a host is, by the leader's and by chrony", query: []param{pHost}, out: ClockRow{}, handle: atHost((*Server).showClock)},
		{method: "GET", pattern: "/v1/transfers", access: forRead, summary: "Streams of images and volumes between one host and others that run now", query: []param{pHost}, out: []TransferRow{}, handle: atHost((*Server).listTransfers)},

		{method: "GET", pattern: "/v1/bases", access: forRead, summary: "What references to bases are pinned to", out: []BaseRow{}, handle: (*Server).listBases},
		{method: "POST", pattern: "/v1/bases/pin", access: forWrite, summary: "What a reference to a base means: pinned at the first time, looked at again with update", query: []param{pHost}, in: PinRequest{}, out: PinResult{}, handle: (*Server).pinBase},
		{method: "PUT", pattern: "/v1/bases/uploads/{name}", access: forWrite, summary: "Send a base: a multipart form of the files of a signed bundle, or of one tar archive", query: []param{pHost}, out: Uploaded{}, limit: maxUpload, stream: true, handle: atHost((*Server).uploadBase)},
		{method: "POST", pattern: "/v1/bases/look", access: forWrite, summary: "What a reference to a base means on the host that is asked; nothing is pinned", in: lookRequest{}, out: fsm.Base{}, handle: (*Server).lookBase},
		{method: "DELETE", pattern: "/v1/bases", access: forWrite, summary: "Forget what a reference means", query: []param{{"ref", "string", "as written after BASE"}}, out: Applied{}, handle: (*Server).unpinBase},
		{method: "GET", pattern: "/v1/signers", access: forRead, summary: "Whose signatures on bases count", out: []SignerRow{}, handle: (*Server).listSigners},
		{method: "POST", pattern: "/v1/signers", access: forWrite, summary: "Trust a signer of bases", in: SignerRequest{}, out: SignerRow{}, handle: (*Server).trustSigner},
		{method: "DELETE", pattern: "/v1/signers/{fingerprint}", access: forWrite, summary: "Trust a signer no longer", out: Applied{}, handle: (*Server).untrustSigner},

		{method: "GET", pattern: "/v1/dns/records", access: forRead, summary: "All records that are served", query: []param{pNetwork, pLimit, pAfter}, out: []RecordRow{}, handle: (*Server).listRecords},
		{method: "GET", pattern: "/v1/dns/query", access: forRead, summary: "Ask this host's DNS server", query: []param{{"name", "string", "to look up"}, {"type", "string", "A (default), AAAA, PTR, SRV, ..."}}, out: DNSAnswer{}, handle: (*Server).queryDNS},
		{method: "GET", pattern: "/v1/certs", access: forRead, summary: "All certificates", query: []param{pLimit, pAfter}, out: []CertRow{}, handle: (*Server).listCerts},
		{method: "GET", pattern: "/v1/certs/{jail}", access: forRead, summary: "One jail's certificate with its PEM", out: CertRow{}, handle: (*Server).showCert},
		{method: "GET", pattern: "/v1/services", access: forRead, summary: "Services and their members", query: []param{pNetwork}, out: []ServiceRow{}, handle: (*Server).listServices},
		{method: "GET", pattern: "/v1/sd/prometheus", access: forRead, summary: "Services as scrape targets, for Prometheus' http_sd_configs", out: []ScrapeGroup{}, handle: (*Server).scrapeTargets},

		{method: "GET", pattern: "/v1/hosts", access: forRead, summary: "All hosts", out: []HostRow{}, handle: (*Server).listHosts},
		{method: "GET", pattern: "/v1/hosts/{name}", access: forRead, summary: "One host, by name or id", out: HostRow{}, handle: (*Server).showHost},
		{method: "POST", pattern: "/v1/hosts/{name}/rekey", access: forWrite, summary: "Let the host make itself a new key for the overlay", out: Applied{}, handle: (*Server).rekeyHost},
		{method: "POST", pattern: "/v1/hosts/{name}/drain", access: forWrite, summary: "Move the host's jails away; without a body at the pace of their groups", in: DrainRequest{}, out: Applied{}, handle: (*Server).drainHost},
		{method: "POST", pattern: "/v1/hosts/{name}/undrain", access: forWrite, summary: "Let the host have jails again", out: Applied{}, handle: (*Server).undrainHost},
		{method: "POST", pattern: "/v1/hosts/{name}/labels", access: forWrite, summary: "Set and remove labels of the host", in: HostLabels{}, out: Applied{}, handle: (*Server).labelHost},
		{method: "DELETE", pattern: "/v1/hosts/{name}", access: forWrite, summary: "Take the host out of the cluster for good", query: []param{{"force", "boolean", "also while it is alive or has jails"}}, out: Applied{}, handle: (*Server).removeHost},
		{method: "GET", pattern: "/v1/tokens", access: forRead, summary: "All join tokens, without their secrets", query: []param{pIndex, pWait}, out: []TokenRow{}, handle: (*Server).listTokens},
		{method: "POST", pattern: "/v1/tokens", access: forWrite, summary: "Make a join token; only this answer holds its secret", in: TokenRequest{}, out: TokenMade{}, handle: (*Server).createToken},
		{method: "DELETE", pattern: "/v1/tokens/{id}", access: forWrite, summary: "Revoke a join token", out: Applied{}, handle: (*Server).revokeToken},
		{
			method: "GET", pattern: "/v1/events", access: forRead, stream: true, media: ndjson, out: Event{},
			summary: "What happened: NDJSON, or SSE when Accept asks for text/event-stream",
			query: []param{
				{"since", "string", "INDEX or INDEX.N of the last event that is known; Last-Event-ID does the same"},
				{"follow", "boolean", "go on as things happen"},
				{"object", "string", "only of this object, as \"jail web-1\""},
				{"kind", "string", "only of this kind, as jail_placed"},
				{"data", "boolean", "with the event's own fields"},
			},
			handle: (*Server).events,
		},
		{method: "GET", pattern: "/v1/history", access: forRead, summary: "What happened to an object", query: []param{{"object", "string", "as \"jail web-1\"; all if not given"}, {"limit", "integer", "newest so many, default 1000, at most 10000"}}, out: []Event{}, handle: (*Server).history},
		{
			method: "GET", pattern: "/v1/diff", access: forRead, summary: "What was not the same at two indexes of the log, or times",
			query: []param{{"from", "string", "index, or time (RFC 3339)"}, {"to", "string", "the same; default now"}, {"kind", "string", "only objects of this kind, as jail"}},
			out:   []ChangeRow{}, handle: (*Server).diff,
		},
		{
			method: "GET", pattern: "/v1/audit", access: forRead, stream: true, summary: "Apply again what a host's log holds, and compare with what the host works with",
			query: []param{pHost, {"to", "integer", "index of the last entry; default the newest"}}, out: Audit{}, handle: atHost((*Server).audit),
		},
		{method: "GET", pattern: "/v1/why", access: forRead, summary: "Why it is so", query: []param{{"object", "string", "as \"jail web-1\""}}, out: Why{}, handle: (*Server).why},
	}
}
