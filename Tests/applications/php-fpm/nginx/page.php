<?php
// What the test's page does: ?do=md5 sums up what was posted, ?do=big sends the file, ?do=fetch&url= is a client itself,
// else a line about the process and its client.
switch ($_GET['do'] ?? '') {
    case 'md5':
        echo md5(file_get_contents('php://input'));
        break;
    case 'big':
        header('Content-Type: application/octet-stream');
        readfile('/mnt/netcon/big');
        break;
    case 'fetch':
        $content = file_get_contents($_GET['url']);
        echo strlen($content), ' ', md5($content);
        break;
    default:
        echo php_sapi_name(), ' ', $_SERVER['REMOTE_ADDR'], ' ', getmypid(), "\n";
}
