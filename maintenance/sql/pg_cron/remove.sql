-- Takes away what `install --pg-cron` made in this database; the ledger stays.
drop table if exists maintenance.cron_policy, maintenance.cron_text, maintenance.cron_rule, maintenance.cron_table cascade;
do $$
declare
    v_routine regprocedure;
begin
    for v_routine in
        select p.oid::regprocedure from pg_catalog.pg_proc p
        where p.pronamespace = pg_catalog.to_regnamespace('maintenance') and p.proname like 'cron\_%'
    loop
        execute pg_catalog.format('drop routine %s', v_routine);
    end loop;
end $$;
