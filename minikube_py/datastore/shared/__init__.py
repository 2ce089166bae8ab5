"""The datastore in a PostgreSQL or MySQL database that several servers share."""
