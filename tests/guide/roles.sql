-- Step 1 of the guide.
SET password_encryption = 'scram-sha-256';
ALTER ROLE postgres PASSWORD 'example-postgres-password';
CREATE ROLE replicator LOGIN REPLICATION PASSWORD 'example-replicator-password';
CREATE ROLE plannerate_prod LOGIN PASSWORD 'example-prod-password';
CREATE ROLE plannerate_staging LOGIN PASSWORD 'example-staging-password';
CREATE DATABASE plannerate_production OWNER plannerate_prod;
CREATE DATABASE plannerate_staging OWNER plannerate_staging;
