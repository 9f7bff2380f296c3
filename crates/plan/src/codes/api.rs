//! Faults of the API: requests that control's doors refuse.

use super::FaultPage;
use model::Whose;

faults! { API;
    NOT_UNDERSTOOD "A0201" Caller, "a request that is not understood",
        "A path, a query or a body does not have the shape that the API documents; nothing was changed.",
        "compare it with the table of paths; client and control of different versions may disagree: atoll --version";
    NO_SUCH_PATH "A0202" Caller, "no such path",
        "The API has no such path, or not with this method.",
        "compare it with the table of paths; client and control of different versions may disagree: atoll --version";
    NOT_FOUND "A0203" Caller, "no such document",
        "Nothing of this kind and name stands. Names are exact.",
        "list what there is: atoll status";
    STANDS_ALREADY "A0204" State, "the name is taken",
        "A document of this kind and name stands already and says something else; adding never changes what stands.",
        "choose another name, or change what stands with a file: atoll apply -f FILE";
    CHOICE_NEEDED "A0205" Caller, "a choice that must be made",
        "What was left out has more than one possible value, or none.",
        "name the blueprint with --blueprint";
    NOT_NOW "A0206" State, "the state does not allow it",
        "The document is in a state in which this cannot be done.",
        "look at it with atoll explain, then act or wait";
    TENANTS_STAY "A0207" State, "tenants cannot leave",
        "A cell is drained and closed only when its tenants have left or can leave; this release cannot move tenants between cells.",
        "remove these tenants and wait for the end of their grace period, or keep the cell and only close it to new tenants: spec.scheduling: Closed";
    STORE "A0208" Machine, "the store does not answer",
        "Control's store cannot be read or written now. What runs goes on; nothing was changed.",
        "try again; if it stays, look for disk space and at control's log: atoll doctor";
    ENGINE "A0209" Machine, "the engine does not answer",
        "The engine (Docker) cannot be asked now. What runs goes on.",
        "try again; if it stays: atoll doctor";
    NOTHING_TO_REVEAL "A0210" State, "nothing left to show",
        "The operation has no secrets to show, or they were shown before: they are shown once and then destroyed.",
        "set a new password in the application itself";
    OUTCOME_UNKNOWN "A0211" State, "the outcome is not known",
        "The store did not say whether the change was written.",
        "look at what stands before asking again: atoll status";
    CHANGED_MEANWHILE "A0212" State, "others change it at the same time",
        "The document changed again and again while the wish was being written; nothing was changed.",
        "ask again";
    SEALED "A0213" Caller, "sealed secrets are not shown",
        "Documents of kind Secret are control's own; the API neither lists nor shows them.",
        "passwords are shown once, by the operation that made them: atoll operation show NAME";
    TOO_OLD "A0214" State, "the watch begins too far back",
        "The store no longer keeps every change since that revision, or its content was restored from a backup.",
        "list anew and watch from the revision of the list";
    TOO_LARGE "A0215" Caller, "a request that is too large",
        "The body is larger than this path takes.",
        "apply the files in parts";
    DEFECT "A0216" Atoll, "a defect of Atoll",
        "Control met something that should not be possible; nothing is known to have been changed.",
        "keep control's log and report it";
    UNREADABLE "A0217" Atoll, "a document that this release cannot read",
        "What stands in the store does not have the shape of this release, for instance after going back to an older one.",
        "run the release that wrote it, or restore a backup of the store: atoll doctor";
    NOT_ALLOWED "A0218" Caller, "a caller who is not allowed",
        "Over TCP the API is for operators who prove themselves twice: by a certificate of the platform's own authority and by a token.",
        "send the token as `Authorization: Bearer TOKEN`, or use the unix socket on the machine itself";
}
