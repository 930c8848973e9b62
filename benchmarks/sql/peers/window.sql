delete from installs where id in (
    select id from (
        select id, row_number() over (partition by device_id order by updated_at desc nulls last, id desc) as place from installs
    ) as ranked
    where place > 1
);
