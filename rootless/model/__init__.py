"""Pure data: references, OCI documents, id maps, records.  No input or output."""
