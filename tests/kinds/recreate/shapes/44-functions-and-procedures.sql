-- setup
create function f(a int, b text default 'x', variadic c int[] default '{}') returns table (x int, y text) language plpgsql stable strict parallel safe cost 5 rows 10 as $$begin return query select a, b; end$$;
create procedure p(inout a int) language plpgsql as $$begin a := a + 1; end$$;
grant execute on function f to public;
revoke execute on procedure p from public;
comment on function f is 'of f';
-- incident
drop function f;
drop procedure p;
