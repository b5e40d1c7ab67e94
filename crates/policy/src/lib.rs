//! API policies as the enforcer uses them, and their wire conversion.
