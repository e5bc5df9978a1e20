// The label that a camera read goes on to the patient's page, still behind the `#`.
for (const link of document.querySelectorAll('.choice')) link.href += window.location.hash;
