"""A sitecustomize that leaves an Ultralytics training 3 MiB more for caching its images, for real.

From the first image on the data segment is limited, until the cache is complete or has failed, in
every attempt alike: images that stay in memory do not fit, those that pass through it do.
"""

from in_training import after_import, data, lift, set_limit

ROOM_BYTES = 3 << 20


class Caching:
    begins = False


def watch(module):
    base = module.BaseDataset
    complete = base.cache_images
    single = {name: getattr(base, name) for name in ("load_image", "cache_images_to_disk")}

    def cache_images(self, *args, **kwargs):
        Caching.begins = True
        try:
            return complete(self, *args, **kwargs)
        finally:
            Caching.begins = False
            lift()

    def limited(original):
        def one(self, *args, **kwargs):
            if Caching.begins:  # the threads that read are there by now
                Caching.begins = False
                set_limit(data() + ROOM_BYTES)
            return original(self, *args, **kwargs)

        return one

    base.cache_images = cache_images
    for name, original in single.items():
        setattr(base, name, limited(original))


lift()
after_import(["ultralytics.data.base"], watch)
