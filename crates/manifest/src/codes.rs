//! Codes of mistakes in files, with what their pages say.

/// A code and its page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CodePage {
    /// `A0101` and so on.
    pub code: &'static str,
    /// What it is, in a few words.
    pub title: &'static str,
    /// What it means.
    pub meaning: &'static str,
    /// What to do.
    pub fix: &'static str,
}

/// The text is not YAML.
pub const SYNTAX: &str = "A0101";
/// A field that the kind does not have.
pub const UNKNOWN_FIELD: &str = "A0102";
/// A value of another type than the field's.
pub const WRONG_TYPE: &str = "A0103";
/// A field that must be there is not.
pub const MISSING_FIELD: &str = "A0104";
/// A value of the right type that breaks a rule.
pub const BAD_VALUE: &str = "A0105";
/// One key twice in one map.
pub const DUPLICATE_KEY: &str = "A0106";
/// One document twice.
pub const DUPLICATE_DOCUMENT: &str = "A0107";
/// No such kind or API version.
pub const UNKNOWN_KIND: &str = "A0108";
/// A file or folder that cannot be read.
pub const UNREADABLE: &str = "A0109";
/// Too large, too deep, or too much by way of aliases.
pub const LIMIT: &str = "A0110";
/// A template file that cannot be taken in.
pub const TEMPLATE_FILE: &str = "A0111";

/// Every code of this crate, in order.
pub const ALL: [CodePage; 11] = [
    CodePage {
        code: SYNTAX,
        title: "not YAML",
        meaning: "The file cannot be read as YAML from the given line on. Atoll reads YAML 1.2, of which JSON is a part; it takes no custom tags.",
        fix: "Look at the line named and at the one before it: indentation (spaces, never tabs), a missing `:` or a quote that is not closed.",
    },
    CodePage {
        code: UNKNOWN_FIELD,
        title: "unknown field",
        meaning: "A field stands in the file that this kind does not have. It is refused because a mistyped field would otherwise be lost in silence.",
        fix: "Take the spelling that the message offers, or look the kind up in `schemas/`. Field names are camelCase.",
    },
    CodePage {
        code: WRONG_TYPE,
        title: "wrong type",
        meaning: "A value has another type than its field: a number where a text is wanted, a text where a list is wanted. Nothing is converted by guess: \
                  `1.10` is the number 1.1, `no` is a text, `true` is not.",
        fix: "Put texts that look like numbers, `true`, `false` or `null` in quotes; write lists as `[a, b]` or with `- ` in front of each entry.",
    },
    CodePage {
        code: MISSING_FIELD,
        title: "missing field",
        meaning: "A field without a default is not there, or nothing follows its colon.",
        fix: "Add the field that the message names.",
    },
    CodePage {
        code: BAD_VALUE,
        title: "value not allowed",
        meaning: "The value has the right type and breaks a rule of its field: a name with capitals, a domain that is none, a quantity without its unit.",
        fix: "The message says the rule and shows the value.",
    },
    CodePage {
        code: DUPLICATE_KEY,
        title: "key stands twice",
        meaning: "One map holds the same key twice. YAML programs differ in which one they take, so neither is taken.",
        fix: "Remove one of the two; both places are named.",
    },
    CodePage {
        code: DUPLICATE_DOCUMENT,
        title: "document stands twice",
        meaning: "Two documents of the same kind and name were given together.",
        fix: "Remove one of the two, or give it another name; both places are named.",
    },
    CodePage {
        code: UNKNOWN_KIND,
        title: "unknown kind or API version",
        meaning: "`kind` or `apiVersion` is missing, is of another program, or is a kind that control alone makes (Domain, Operation, Secret).",
        fix: "Begin each document with `apiVersion: atoll.dev/v1alpha1` and a `kind` of Platform, Machine, Blueprint, Cell or Tenant.",
    },
    CodePage {
        code: UNREADABLE,
        title: "file cannot be read",
        meaning: "A file or folder that was named does not exist, may not be read, is not UTF-8, or is a folder without a `.yaml` file.",
        fix: "Check the path and its permissions.",
    },
    CodePage {
        code: LIMIT,
        title: "too large or too deep",
        meaning: "Files are limited (64 MiB, 64 levels, 10,000 values by way of aliases), so that a small file cannot exhaust the memory of whoever reads it.",
        fix: "Split the file; write values out in place of aliases.",
    },
    CodePage {
        code: TEMPLATE_FILE,
        title: "template file cannot be taken in",
        meaning: "`templateFile` names a file beside the blueprint whose text becomes the `template`. It does not exist, leaves the blueprint's folder, is larger than \
                  128 KiB, or `template` stands there too.",
        fix: "Give a path without `..`, relative to the blueprint's file, and only one of `template` and `templateFile`.",
    },
];
