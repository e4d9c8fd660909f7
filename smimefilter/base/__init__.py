"""The ground floor: addresses, reasons, errors and the envelope of a mail. Pure values."""
