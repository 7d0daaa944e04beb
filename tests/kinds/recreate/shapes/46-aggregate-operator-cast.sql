-- setup
create type c as (x int);
create function plus(c, c) returns c language sql as 'select row($1.x + $2.x)::c';
create operator + (leftarg = c, rightarg = c, function = plus);
create aggregate total (c) (sfunc = plus, stype = c, initcond = '(0)');
create function to_int(c) returns int language sql as 'select $1.x';
create cast (c as int) with function to_int(c);
-- incident
drop type c cascade;
