-- Statements of who watches a campaign: a person, once a second, while everybody else works. Counters, and ends of indexes.

-- name: watch_campaign
-- Unique index on code; then entrants_by_registration beyond $2 and entrants_by_login beyond $4, which is what has come of late:
-- what is not beyond was counted before (PostgresCampaignWatch). found is how many are beyond; settled how many of those are up
-- to $3, or $5. The jobs by their key and no further than $6. The last winner by grants_rank_unique: of a campaign by
-- registration the last is not who got a coupon last, so it is not told.
SELECT campaign.code, campaign.name, state, rank_by, cap, issued, held, closes_at,
    registered.found AS registered, registered.settled AS registered_settled, registered.last AS registered_last,
    logged_in.found AS logged_in, logged_in.settled AS logged_in_settled, logged_in.last AS logged_in_last,
    waiting.jobs AS jobs_waiting, waiting.oldest_s AS oldest_job_s, winner.delay_s AS last_delay_s
FROM campaigns AS campaign
CROSS JOIN LATERAL (
    SELECT count(*) AS found, count(*) FILTER (WHERE entrant_id <= $3::bigint) AS settled, max(entrant_id) AS last
    FROM entrants WHERE campaign_id = campaign.campaign_id AND entrant_id > $2::bigint
) AS registered
CROSS JOIN LATERAL (
    SELECT count(*) AS found, count(*) FILTER (WHERE login_job <= $5::bigint) AS settled, max(login_job) AS last
    FROM entrants WHERE campaign_id = campaign.campaign_id AND login_job > $4::bigint
) AS logged_in
CROSS JOIN LATERAL (
    SELECT count(*) AS jobs, coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)::float8 AS oldest_s
    FROM (SELECT created_at FROM jobs ORDER BY job_id LIMIT $6) AS first
) AS waiting
LEFT JOIN LATERAL (
    SELECT extract(epoch FROM granted_at - login_at)::float8 AS delay_s
    FROM grants JOIN entrants USING (user_id) WHERE grants.campaign_id = campaign.campaign_id AND rank_by = 'login'
    ORDER BY rank DESC LIMIT 1
) AS winner ON true
WHERE campaign.code = $1;
