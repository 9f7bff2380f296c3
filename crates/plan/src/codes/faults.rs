//! Faults of plans and their lint: what a person is refused, or warned of.

use super::FaultPage;
use model::Whose;

faults! { RULES;
    NOT_FOR_FILES "A0301" Caller, "a kind that no file may state",
        "Claims on domains, operations and secrets are made by control, from what files and commands ask for.",
        "remove the document from the files";
    SHAPE "A0302" Caller, "a document that does not have the shape of its kind",
        "Unknown, missing or mistyped fields are refused, because a misspelt setting that is silently ignored is found at night.",
        "compare it with the schema of its kind in schemas/";
    TWICE "A0303" Caller, "one document stated twice",
        "Two documents of one kind and name in one application contradict each other; which of them is meant cannot be known.",
        "remove or rename one of them";
    BEING_DELETED "A0304" State, "a document that is being removed",
        "Its removal was asked for and is not finished; a change would be lost.",
        "wait until it is gone, then apply again";
    BLUEPRINT_FIXED "A0305" Caller, "a blueprint version changed in place",
        "Versions are immutable, so that a cell's blueprint says exactly what runs in it and going back is possible.",
        "give the changed blueprint a new version and roll the cells to it";
    BLUEPRINT_UNKNOWN "A0306" Caller, "a blueprint that is not known",
        "Neither the files applied nor the store hold it.",
        "apply the blueprint together with what names it, or correct the name: atoll apply <folder of the blueprint>";
    FIELD_FIXED "A0307" State, "a field that cannot change any more",
        "Something was already made from the old value, and this release cannot move what stands there.",
        "put the old value back; or make a new document with the new value and remove the old one";
    ONE_PLATFORM "A0308" Caller, "a second platform",
        "An installation is one platform; its document is a singleton.",
        "change the document that stands instead of adding one";
    POOL "A0309" Caller, "a network pool that cannot be used",
        "Every cell takes two networks of 256 private addresses from the pool, and keeps them.",
        "name a private network of at least 512 addresses, such as 10.91.0.0/16, that holds the networks of the cells that stand";
    REGION "A0310" Caller, "a region that the platform does not have",
        "Cells, machines and tenants lie in regions that the platform lists.",
        "correct the region, or add it to spec.regions of the platform first";
    PUBLIC "A0311" Caller, "a public side that visitors cannot reach",
        "Sites put scheme, address and port into their links.",
        "scheme is http or https, the port is 1 to 65535";
    MACHINE_UNKNOWN "A0312" Caller, "a machine that is not known",
        "A cell's data lies on machines that are documents of the store.",
        "correct the name, or apply the machine first";
    AGENT_ADDRESS "A0313" Caller, "an agent's address that cannot be dialled",
        "Control dials a machine's agent at this address.",
        "name the address and port of the agent, such as 127.0.0.1:7420";
    API_ADDRESS "A0314" Caller, "a port that the API cannot have",
        "Control is not given the right to listen on ports below 1024, and the edge's port is the edge's.",
        "choose another spec.api.port, such as 7443";
    BEHIND "A0315" Caller, "balancers that cannot be believed",
        "Whoever connects from a network in spec.public.behind.proxies may say whose a request is, so no visitor and no cell may stand in one.",
        "name the balancers' own addresses, such as 192.0.2.7/32; without balancers leave spec.public.behind out";
    CAPACITY "A0320" Caller, "a cell that takes no tenant, or too many",
        "A blueprint's capacity is what placement counts against.",
        "set spec.capacity.tenants to 1 to 100000";
    ENTRY "A0321" Caller, "not exactly one entry",
        "Visitors' requests enter a cell at the one service that carries entry: true.",
        "set entry: true on exactly one service, and give it a port";
    SERVICE_NAME "A0322" Caller, "a service name that is taken",
        "Inside a cell gate, db, database and (where a cache is wanted) cache are names of the platform's own parts.",
        "choose another name, of at most 20 characters";
    PORT "A0323" Caller, "a service without a usable port",
        "A service that others reach, or whose probe asks a port, must say on which port it listens; ports below 1024 need a capability that instances do not have; 9443 is the gates' own.",
        "set port to 1024 to 65535";
    USES "A0324" Caller, "a service that uses what is not there",
        "uses names services of the same blueprint (or database), without a circle: otherwise none of them would ever start.",
        "correct the name, or break the circle";
    IMAGE "A0325" Caller, "an image without a fixed version",
        "The tag latest, or none, names another image tomorrow; a blueprint version must always mean the same.",
        "name the image with a version tag or a digest";
    ROOT "A0326" Caller, "a service that runs as root",
        "Instances of one cell serve many tenants; user 0 would make each gap in the product a gap in the machine.",
        "set user to an id of 1 or more that the image is made for";
    REPLICAS "A0327" Caller, "an impossible number of instances",
        "min must be at least 1, max at least min and at most 64; all services together have 120 addresses in a cell, one of each kept for rolling.",
        "correct replicas.min and replicas.max";
    DATABASE_NODES "A0328" Caller, "a database of neither one nor three nodes",
        "Two nodes cannot tell a dead peer from a cut link; more than three make each commit slower and nothing safer here.",
        "set database.nodes to 1 (no redundancy) or 3";
    DATABASE_SIZE "A0329" Caller, "a database that cannot work with its limits",
        "A node needs some memory to start, and one tenant must not be able to take all connections.",
        "set database.memory to at least 64Mi, connections to 20 to 10000, tenantConnections to 1 up to connections";
    TEMPLATE "A0330" Caller, "a template that does not render",
        "Templates are tried with sample values when a blueprint is planned, so that no tenant meets the mistake first.",
        "correct the template; the names it may use stand in docs/blueprints.md";
    SETTING_PATH "A0331" Caller, "a settings file outside its folder",
        "Each tenant's files are written below its own folder; absolute paths, `..` and two files of one path are refused.",
        "use a relative path of letters, digits, '.', '-', '_' and '/', once";
    HOOK "A0332" Caller, "a hook that cannot run",
        "A hook runs a command in a one-off container of a service's image.",
        "name a service of the blueprint in `in`, a command in `run` and a time of 1s to 1h in `within`";
    WRITABLE "A0333" Caller, "a writable path that is none",
        "Writable paths are absolute folders kept in memory; the mounts of the platform below /atoll are its own.",
        "use absolute paths without `..` outside /atoll, /proc, /sys and /dev, each with a size";
    CAPABILITY "A0334" Caller, "a capability that breaks isolation",
        "All capabilities are dropped; a few harmless ones may be kept. Others would let one cell reach into another.",
        "keep only CHOWN, DAC_OVERRIDE, FOWNER, KILL, NET_BIND_SERVICE, SETGID or SETUID";
    PROBE "A0335" Caller, "a probe that cannot succeed",
        "A probe asks a path or a port of the instance in bounded time.",
        "give http probes a path that begins with '/', and keep every, within and startWithin above zero";
    LIMITS "A0336" Caller, "limits that let nothing run",
        "Each instance has a share of processor, memory and processes; below a floor nothing starts.",
        "set cpu to at least 10m, memory to at least 8Mi and pids to at least 2";
    NO_FILES "A0337" Caller, "tenants' files without a store",
        "A service mounts tenants' files, and the blueprint names no place for them.",
        "add `files: { engine: directory }` to the blueprint";
    BLUEPRINT_NAME "A0338" Caller, "a blueprint without a version",
        "Its document is named <name>.<version>: cells name that, tenants name the product alone.",
        "set metadata.name and metadata.version, for instance wordpress and 2026.11.1";
    WORD "A0339" Caller, "a name that programs cannot use",
        "Names of secrets and environment variables are letters, digits and '_', not beginning with a digit.",
        "correct the name";
    DOMAIN_TWICE "A0340" Caller, "a domain named twice by one tenant",
        "International and upper-case spellings of one name are one domain.",
        "remove one of them";
    DOMAIN_TAKEN "A0341" Caller, "a domain that belongs to another tenant",
        "A domain leads to one tenant. The first claim stands until its tenant gives the domain up or is purged.",
        "remove the domain from one of the two tenants";
    DOMAINS "A0342" Caller, "no domain, or too many",
        "A tenant is reached by its domains; the first is the primary one.",
        "name 1 to 50 domains";
    WILDCARD "A0353" Caller, "a wildcard of a domain that the tenant does not have",
        "A wildcard serves every host one label below a domain, and belongs to whoever owns that domain.",
        "name the domain in spec.domains or spec.hosts.aliases as well";
    CONTACT "A0343" Caller, "a contact that is not a mail address",
        "The administrator's account and notices need an address.",
        "write it as name@example.org";
    LANGUAGE "A0344" Caller, "a language that is not a tag",
        "Language tags are like en, cs-CZ or pt-BR.",
        "correct spec.language";
    TEXT "A0345" Caller, "a text that is too long or holds control characters",
        "Titles, plans and groups are shown and put into files of the product.",
        "use at most 200 printable characters";
    PINNED_CELL "A0346" Caller, "a cell that the tenant cannot be placed in",
        "A tenant that names a cell goes there or nowhere; the cell must run its product in its region.",
        "correct or remove spec.cell";
    TOO_FULL "A0347" State, "a blueprint with less room than the cell's tenants take",
        "Rolling the cell to it would leave tenants without a place.",
        "raise the capacity in a new version, or keep the cell on the version it has";
    NAME_LENGTH "A0348" Caller, "a name that is too long for what is made from it",
        "Names of containers and networks are made from platform, cell and service; host names have at most 63 characters.",
        "use at most 24 characters for a cell, 20 for a platform and 20 for a service";
    PORT_PASSED "A0349" State, "a port that passes from one service to another",
        "Gates tell services apart by their ports. While a cell rolls, instances of both versions are there, and those of the old one would reach the wrong service.",
        "give the service that is new to the port another one, now or for one version in between";
    PLAN_STALE "A0350" State, "a plan that the world has overtaken",
        "A document that the plan was based on was changed by somebody else; applying it could undo that change unseen.",
        "plan again and look at the difference: atoll plan <files>";
    PLAN_GONE "A0351" State, "a plan that is not known",
        "Plans are kept for an hour.",
        "plan again: atoll plan <files>";
    PLAN_REFUSED "A0352" Caller, "a plan with refused changes",
        "A plan is applied whole or not at all.",
        "correct the refused documents and plan again";
    ONE_INSTANCE "A0360" Caller, "a service without a spare",
        "With one instance its loss is an outage until it is started anew; rolling still starts the new one first.",
        "set replicas.min to 2 where that matters";
    ONE_NODE "A0361" Caller, "a database without a spare",
        "With one node its loss is an outage until it is started anew, and its disk is the only copy.",
        "set database.nodes to 3 where that matters";
    ONE_GATE "A0362" Caller, "a cell with one door",
        "With one gate its replacement fails requests.",
        "set gates.replicas to 2";
    CLEAR_SECRET "A0363" Caller, "what looks like a secret in clear",
        "Environment variables stand in manifests and in the engine's own inspection; secrets must not.",
        "name it in tenant.secrets and use it in a settings template as secrets.<name>";
    OPEN_NEXT "A0364" State, "room that runs out",
        "The share at which the next cell should be opened is reached.",
        "open the next cell before the last place is taken: atoll cell open <name> --blueprint <blueprint>";
    NO_SETTINGS "A0365" Caller, "settings that no service mounts",
        "Files are rendered for each tenant, and no service has settings: true, so nothing reads them.",
        "set settings: true on the services that read them";
    CELL_MEMORY "A0366" Caller, "memory promised to one cell",
        "The sum of what the parts of one cell may take; the machine must have it, or instances end for lack of memory.",
        "compare it with the memory of the machine before opening more cells";
}
