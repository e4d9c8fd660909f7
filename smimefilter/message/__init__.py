"""Messages as bytes: headers, MIME structure, and edits that touch only what they name."""
