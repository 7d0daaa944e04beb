-- setup
create function f(int) returns int language sql as 'select 1';
create function f(text) returns int language sql as 'select 2';
create function "F; --"("a b" int default 3) returns text language sql as 'select $1::text';
comment on function f(text) is 'two';
-- incident
drop function f(int);
drop function f(text);
drop function "F; --";
