//! Faults of the command line itself.

use super::FaultPage;
use model::Whose;

faults! { COMMAND_LINE;
    UNREACHABLE "A0901" Machine, "control cannot be reached",
        "Nobody answers at control's socket, or you may not open it. What runs goes on without control; only changes and status need it.",
        "start it with atoll up, look at it with atoll doctor, or use the user or group that owns the socket";
    ANSWER_LOST "A0902" State, "the answer was lost",
        "The connection to control ended before its answer was read. Whether the request was carried out is not known.",
        "look with atoll status before asking again; adding, suspending and applying may be repeated safely";
    TIMED_OUT "A0903" State, "waiting ended before the work did",
        "The time that the command was given to wait is over. The work itself goes on in control.",
        "follow it with the command that the message names, or ask atoll status later";
    INTERRUPTED "A0904" State, "interrupted",
        "You ended the command. What it had asked for goes on in control.",
        "follow it with the command that the message names, or cancel it with atoll operation cancel";
    NOT_AGREED "A0905" Caller, "nobody agreed",
        "The command changes or removes something, asks before it does, and there was nobody to ask or the answer was no.",
        "run it on a terminal and agree, or pass --yes";
    REFUSED_CHANGES "A0906" Caller, "a plan with refused changes",
        "At least one change of the plan breaks a rule; a plan is applied whole or not at all.",
        "correct what the plan's faults name, then plan again";
    WORK_FAILED "A0907" State, "the work ended in failure",
        "The operation or rollout that the command waited for has failed; the message has its last words.",
        "look at it with atoll explain and atoll operation show";
    MACHINE "A0908" Machine, "the machine lacks something",
        "A tool, a port, space or Docker itself is missing or too old.",
        "atoll doctor lists each with what to do";
    OTHER_PLATFORM "A0909" Caller, "another platform is meant",
        "The files and the arguments, or the state folder and the arguments, name different platforms.",
        "pass --platform and --state of the platform that you mean";
    SHOWN_BEFORE "A0910" State, "the password was shown before",
        "Secrets of an operation are shown once and then destroyed.",
        "set a new password in the application itself";
    ANSWER_NOT_UNDERSTOOD "A0911" Atoll, "an answer that this version does not understand",
        "Control is of another version than the command and sent something that it does not know.",
        "use the command of the same version as control: atoll --version, atoll status";
    NOT_HERE "A0912" Caller, "a part of the platform started by hand",
        "Control, agent, edge and gate are started by Atoll in containers of their own, with what they need mounted.",
        "use atoll up";
    USAGE "A0913" Caller, "arguments that do not go together",
        "The arguments can be read one by one, but something that they need together is missing or too much.",
        "see the command's --help";
    BACKUP_FILE "A0914" Caller, "a backup file that cannot be used",
        "A backup is made under a new name, and brought back only when it is a whole store of a release that this one knows, and of this platform.",
        "name another file; what the message names was not touched";
    STORE_IN_USE "A0915" State, "the store is in use",
        "A store is replaced only while control is stopped, because two processes must never write it. Sites serve on without control.",
        "stop control alone (docker stop atoll-control), or everything (atoll down), and start it afterwards with atoll up";
    CREDENTIALS "A0916" Caller, "an operator's folder that cannot be used",
        "Control on another machine is reached with a certificate, its key and a token, which only their owner may read.",
        "copy operators/<name> of the platform's state folder, keep its files' mode 0600, and name the copy with --credentials";
    NO_EDGE "A0917" Caller, "no edge answers on this machine",
        "What tenants take of an edge is told by that edge's admin door, which only its own machine reaches.",
        "type the command where the edge runs; atoll doctor says whether it is up";
}
