// For an importer that is an ES module, a bundler gives this package's exports as a whole where its
// default is meant.
module.exports = require('./node_modules/react-custom-scrollbars-2/lib/index.js').default;
