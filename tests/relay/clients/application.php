<?php

// What a Laravel application has done before its own code runs, as far as the documents' snippet
// needs it: classes are found, where Debian keeps them, and facades have an application to ask.

require_once 'GuzzleHttp/autoload.php';
require_once 'Dotenv/autoload.php';
require_once 'Illuminate/Container/autoload.php';
require_once 'Illuminate/Http/autoload.php';

Illuminate\Support\Facades\Facade::setFacadeApplication(new Illuminate\Container\Container());
