declare module "swagger-ui-dist/swagger-ui-bundle.js" {
  export default function SwaggerUI(options: Record<string, unknown>): unknown;
}
