// Two pages of static files; names of assets hold a digest, so that browsers may keep them for ever.
export default {
  base: "/",
  build: {
    target: "es2022",
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 2000,
    rollupOptions: { input: ["index.html", "docs/index.html"] },
  },
};
