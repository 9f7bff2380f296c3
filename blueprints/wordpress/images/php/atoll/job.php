<?php
/**
 * Start of every hook: the job's parameters, and WordPress loaded for its tenant.
 *
 * Parameters (/atoll/job/params.json): tenant, adminUser, adminPassword, contact, language. A hook may be run again after any crash.
 */

declare(strict_types=1);

const JOB_PARAMETERS = '/atoll/job/params.json';

/** @return array<string, mixed> */
function job_parameters(): array
{
    $text = @file_get_contents(JOB_PARAMETERS);
    $parameters = $text === false ? null : json_decode($text, true);
    if (!is_array($parameters) || !is_string($parameters['tenant'] ?? null)) {
        job_fail('the parameters are missing or name no tenant: ' . JOB_PARAMETERS);
    }
    define('ATOLL_TENANT', $parameters['tenant']);
    return $parameters;
}

/** Makes $_SERVER look like a request for the site's primary address, which WordPress wants to see. */
function job_request(array $settings): void
{
    $url = parse_url($settings['url']);
    $_SERVER['HTTP_HOST'] = $url['host'] . (isset($url['port']) ? ":{$url['port']}" : '');
    $_SERVER['SERVER_NAME'] = $url['host'];
    $_SERVER['REQUEST_URI'] = '/';
    $_SERVER['REQUEST_METHOD'] = 'POST';
    $_SERVER['SERVER_PROTOCOL'] = 'HTTP/1.1';
}

function job_say(string $line): void
{
    fwrite(STDOUT, "$line\n");
}

function job_fail(string $why): never
{
    fwrite(STDERR, "failed: $why\n");
    exit(1);
}
