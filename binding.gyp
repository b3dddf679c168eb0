{
  # For prebuildify, which drives node-gyp; a plain build is `npm run build:native`. The list of
  # sources is native/sources.json, shared with CMakeLists.txt and scripts/build.mjs.
  'targets': [
    {
      'target_name': 'stonelog',
      'sources': [
        '<!@(node -p "s = require(\'./native/sources.json\'); s.core.concat(s.addon).join(\' \')")',
      ],
      'include_dirs': ['native', '<!(node -p "require(\'node-api-headers\').include_dir")'],
      'defines': [
        'NAPI_VERSION=9',
        'NAPI_DISABLE_CPP_EXCEPTIONS',
        'NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS',
      ],
      'cflags!': ['-O3', '-fno-omit-frame-pointer'],
      'cflags_cc!': ['-std=gnu++17', '-std=gnu++20', '-fexceptions', '-frtti'],
      'cflags_cc': [
        '-std=c++20', '-O2', '-g1', '-fvisibility=hidden', '-fno-exceptions', '-fno-rtti',
        '-Wall', '-Wextra', '-pthread',
      ],
      'conditions': [
        ['OS=="linux"', {
          'ldflags': [
            '-Wl,-z,relro,-z,now,-z,nodelete', '-pthread',
            '-Wl,--version-script=<(module_root_dir)/native/binding/exports.map',
          ],
        }],
        ['OS=="mac"', {
          'xcode_settings': {
            'CLANG_CXX_LANGUAGE_STANDARD': 'c++20',
            'GCC_ENABLE_CPP_EXCEPTIONS': 'NO',
            'GCC_ENABLE_CPP_RTTI': 'NO',
            'GCC_SYMBOLS_PRIVATE_EXTERN': 'YES',
            'GCC_OPTIMIZATION_LEVEL': '2',
          },
        }],
      ],
    },
  ],
}
