drop table events_1, events_2;
