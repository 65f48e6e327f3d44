// Swagger UI for this service's own description.
import SwaggerUI from "swagger-ui-dist/swagger-ui-bundle.js";
import "swagger-ui-dist/swagger-ui.css";

// Without a `validatorUrl` it would send the description's address to a service elsewhere.
SwaggerUI({ url: "/openapi.json", dom_id: "#swagger", deepLinking: true, validatorUrl: null });
