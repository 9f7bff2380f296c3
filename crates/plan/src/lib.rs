//! Pure decisions: placement, domain ownership, wanted sets, the plan, its report and its lint.
