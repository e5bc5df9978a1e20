// The sign-in page: the token leaves the address bar, so that it is in no history and no screenshot.
if (location.search) history.replaceState(null, "", location.pathname);
document.getElementById("enter")?.focus();
