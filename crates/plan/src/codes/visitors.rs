//! Reasons that visitors see: what edges and gates answer with when a request is not served as asked, in the header `Atoll-Reason`, on the page, in the log
//! and in the metrics.

use super::ReasonPage;

reasons! { VISITORS;
    // The request itself.
    MalformedHead "400: the first lines of the request do not follow the rules of HTTP/1.1; nothing of it reached a cell.", "";
    AmbiguousLength "400: the request says in two ways where its body ends, so two readers could disagree; that is how requests are smuggled, and none is passed on.", "";
    MalformedBody "400: the chunks of the request's body do not follow the rules; the connection is closed, because nobody knows where the next request begins.", "";
    BadHost "400: the request names no host, two of them, or something that is none, so no tenant can be found.", "";
    HeadTooLarge "431: the request has more or longer header fields than are read, often because of cookies that pile up.", "";
    MethodRefused "405: CONNECT and TRACE are not served.", "";
    VersionRefused "505: only HTTP/1.0 and HTTP/1.1 are served here.", "";
    ExpectationRefused "417: the only expectation that is met is 100-continue.", "";
    HeadTimeout "408: the request's head did not arrive in its time: a slow line, or somebody who holds connections on purpose.", "";
    BodyTimeout "408: the request's body stopped arriving before its end.", "";
    ClientClosed "499: the visitor left before the answer; it stands in logs and metrics only.", "";
    // Who is asked for.
    UnknownHost "404: no tenant has this domain, or its tenant is not placed yet. A domain that was just added is known as soon as the edge has the next routes.", "atoll tenant list";
    TenantSuspended "503: the tenant was suspended or removed on request.", "atoll tenant resume <name>";
    TenantReadOnly "503: the tenant takes no changes for the moment, because its data is being worked on; reading goes on.", "atoll operation list";
    TenantHeld "503: the tenant changes its cell, and the request waited for it as long as it may.", "atoll operation list";
    TenantMoving "503: gate and edge do not agree yet which cell has the tenant; one of them is about to learn it. If it stays, look whether the gates acknowledge.", "atoll status";
    // The way to the cell.
    NoRoutes "503: this edge was never told any routes: it is new, and control has not answered it yet.", "atoll status";
    Misdirected "421: a gate got a request whose mark it cannot verify: not from our edge, or made with a key that it does not know.", "atoll status";
    GateRefused "502: the gate refuses a tenant that the edge is sure of, also after the edge has learnt the newest routes.", "atoll explain tenant <name>";
    Overloaded "503: more requests at once than the edge, the gate or the tenant's share takes; those that wait are served in turn, these are not.", "atoll status";
    TenantLimited "429: the tenant asks for more of this edge than its plan's class in spec.limits of the Platform allows: requests a second, requests under way, or bytes; Retry-After says when it fits.", "atoll explain tenant <name>";
    ClientLimited "429: one address (of IPv6: one network of 64 bits) sends more requests than spec.limits.client of the Platform allows; Retry-After says when it fits.", "atoll explain platform";
    // The cell.
    NoReadyInstance "503: no instance of the service is ready: it starts, its probe fails, or it crashes again and again.", "atoll status";
    UpstreamUnreachable "503: every instance or gate that could answer refused the connection; nothing of the request was sent.", "atoll status";
    UpstreamClosed "502: the instance closed the connection before its answer was whole; the request may have been carried out, so it was not sent again.", "atoll logs <cell>";
    UpstreamMalformed "502: what the instance answered is not HTTP/1.1.", "atoll logs <cell>";
    UpstreamTimeout "504: the instance did not answer in its time; the request may still be at work there.", "atoll logs <cell>";
}
