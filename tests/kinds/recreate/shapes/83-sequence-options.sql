-- setup
create sequence s as smallint increment -2 minvalue -100 maxvalue 50 start 10 cache 1 cycle;
select nextval('s');
select nextval('s');
comment on sequence s is 'down';
-- incident
drop sequence s;
