"""Programs that set up, check and describe this repository; they are not part of the product."""
