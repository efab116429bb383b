-- What the guide's application reads and writes.
CREATE TABLE articles (id int PRIMARY KEY, title text NOT NULL, views int NOT NULL);
ALTER TABLE articles OWNER TO plannerate_prod;
INSERT INTO articles SELECT n, 'article ' || n, 0 FROM generate_series(1, 1000) AS n;
