"""Events of recordings: tables read, and placed on the clock of the samples."""
