import js from "@eslint/js";
import globals from "globals";

export default [
  js.configs.recommended,
  {
    files: ["viewer/web/**/*.js", "docs/browser/*.js"],
    languageOptions: { ecmaVersion: 2024, sourceType: "module", globals: globals.browser },
    rules: {
      "no-restricted-properties": [
        "error",
        {
          property: "innerHTML",
          message: "Names from a model are text: make elements with dom.js.",
        },
        {
          property: "outerHTML",
          message: "Names from a model are text: make elements with dom.js.",
        },
        {
          property: "insertAdjacentHTML",
          message: "Names from a model are text: make elements with dom.js.",
        },
      ],
      "no-eval": "error",
      "no-implied-eval": "error",
      "no-new-func": "error",
      "no-script-url": "error",
      eqeqeq: "error",
      curly: "error",
      "prefer-const": "error",
      "no-var": "error",
      "no-console": "error",
      "no-shadow": "error",
      "no-unused-expressions": ["error", { allowShortCircuit: true }],
      complexity: ["error", 12],
      "max-lines": ["error", 350],
      "no-use-before-define": ["error", { functions: false, classes: false }],
    },
  },
];
