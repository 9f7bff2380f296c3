<?php
/**
 * Hook `migrate`: brings the tenant's tables to the WordPress of this image. Repeatable; nothing to do is fine.
 */

declare(strict_types=1);

require '/srv/atoll/job.php';
require '/srv/atoll/tenant.php';

job_parameters();
job_request(atoll_settings(ATOLL_TENANT));
require '/srv/wordpress/wp-load.php';
require_once ABSPATH . 'wp-admin/includes/upgrade.php';

$have = (int) get_option('db_version');
if ($have === 0) {
    job_fail('the site is not installed');
}
if ($have > (int) $wp_db_version) {
    job_fail("the tables are of version $have, this image knows $wp_db_version: WordPress does not go back, restore the tenant instead");
}
if ($have === (int) $wp_db_version) {
    job_say("version $have: nothing to do");
    exit(0);
}
wp_upgrade();
$now = (int) $wpdb->get_var("SELECT option_value FROM {$wpdb->options} WHERE option_name = 'db_version'");
if ($now !== (int) $wp_db_version) {
    job_fail("the tables stayed at version $now instead of $wp_db_version: " . $wpdb->last_error);
}
job_say("version $have to $now");
