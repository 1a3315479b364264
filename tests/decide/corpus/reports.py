"""Real reports of memory failures, one or more of each form, with where they were published.

Texts are quoted as torch printed them; addresses are of public reports. `capacity` and `requested`
are what a reader would work out by hand, in bytes, None where the text does not say it.
"""

from __future__ import annotations

from dataclasses import dataclass

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


def gib(value: float) -> int:
    return round(value * GIB)


def mib(value: float) -> int:
    return round(value * MIB)


@dataclass(frozen=True)
class Report:
    name: str
    source: str
    exception: str
    text: str
    requested: int | None = None
    capacity: int | None = None


_ADVICE = (
    " If reserved but unallocated memory is large try setting PYTORCH_CUDA_ALLOC_CONF="
    "expandable_segments:True to avoid fragmentation.  See documentation for Memory Management  "
    "(https://pytorch.org/docs/stable/notes/cuda.html#environment-variables)"
)
_OLD_ADVICE = (
    " If reserved memory is >> allocated memory try setting max_split_size_mb to avoid "
    "fragmentation.  See documentation for Memory Management and PYTORCH_CUDA_ALLOC_CONF"
)

CUDA = (
    Report(
        "torch 2.2, plain",
        "https://github.com/WongKinYiu/yolov9/issues/281",
        "torch.cuda.OutOfMemoryError",
        "CUDA out of memory. Tried to allocate 100.00 MiB. GPU 0 has a total capacity of 6.00 GiB "
        "of which 2.62 GiB is free. Of the allocated memory 2.24 GiB is allocated by PyTorch, and "
        "78.16 MiB is reserved by PyTorch but unallocated." + _ADVICE,
        mib(100),
        gib(2.24) + mib(78.16) + gib(2.62),
    ),
    Report(
        "torch 2.1, 'capacty', nothing free",
        "https://github.com/carolchenyx/MGFN./issues/35",
        "torch.cuda.OutOfMemoryError",
        "CUDA out of memory. Tried to allocate 1.70 GiB. GPU 0 has a total capacty of 6.00 GiB of "
        "which 0 bytes is free. Of the allocated memory 2.93 GiB is allocated by PyTorch, and 2.30 "
        "GiB is reserved by PyTorch but unallocated. If reserved but unallocated memory is large "
        "try setting max_split_size_mb to avoid fragmentation.  See documentation for Memory "
        "Management and PYTORCH_CUDA_ALLOC_CONF",
        gib(1.70),
        gib(2.93) + gib(2.30),
    ),
    Report(
        "torch 2.1, with a neighbour on the GPU",
        "https://github.com/chatchat-space/Langchain-Chatchat/issues/3992",
        "torch.cuda.OutOfMemoryError",
        "CUDA out of memory. Tried to allocate 128.00 GiB. GPU 0 has a total capacty of 23.65 GiB "
        "of which 7.95 GiB is free. Process 1957120 has 7.10 GiB memory in use. Including "
        "non-PyTorch memory, this process has 8.58 GiB memory in use. Of the allocated memory 8.13 "
        "GiB is allocated by PyTorch, and 8.94 MiB is reserved by PyTorch but unallocated. If "
        "reserved but unallocated memory is large try setting max_split_size_mb to avoid "
        "fragmentation.  See documentation for Memory Management and PYTORCH_CUDA_ALLOC_CONF",
        gib(128),
        gib(8.13) + mib(8.94) + gib(7.95),
    ),
    Report(
        "torch 2.9 on ROCm, with a fraction and private pools",
        "https://github.com/ROCm/TheRock/issues/2118",
        "torch.OutOfMemoryError",
        "HIP out of memory. Tried to allocate 2.00 MiB. GPU 0 has a total capacity of 287.98 GiB "
        "of which 275.86 GiB is free. 1.05 GiB allowed; Of the allocated memory 1017.01 MiB is "
        "allocated by PyTorch, with 17.00 MiB allocated in private pools (e.g., HIP Graphs), and "
        "54.99 MiB is reserved by PyTorch but unallocated." + _ADVICE,
        mib(2),
        gib(1.05),
    ),
    Report(
        "torch 2.15, rejected before it was tried",
        "https://github.com/pytorch/pytorch/pull/179473",
        "torch.OutOfMemoryError",
        "CUDA out of memory. Allocation was preemptively rejected because it would exceed "
        "per_process_memory_fraction limit. Requested size: 1.50 GiB",
        gib(1.5),
        None,
    ),
    Report(
        "torch 2.0, older form",
        "https://github.com/GoGoDuck912/Self-Correction-Human-Parsing/issues/80",
        "torch.cuda.OutOfMemoryError",
        "CUDA out of memory. Tried to allocate 498.00 MiB (GPU 0; 10.92 GiB total capacity; 9.22 "
        "GiB already allocated; 401.81 MiB free; 9.78 GiB reserved in total by PyTorch)"
        + _OLD_ADVICE,
        mib(498),
        gib(9.78) + mib(401.81),
    ),
    Report(
        "torch 2.0, older form with a fraction",
        "https://github.com/zsyOAOA/ResShift/issues/13",
        "torch.cuda.OutOfMemoryError",
        "CUDA out of memory. Tried to allocate 128.00 GiB (GPU 0; 23.99 GiB total capacity; 7.85 "
        "GiB already allocated; 14.25 GiB free; 21.59 GiB allowed; 8.14 GiB reserved in total by "
        "PyTorch)" + _OLD_ADVICE,
        gib(128),
        gib(21.59),
    ),
    Report(
        "torch 1.6, a RuntimeError",
        "https://github.com/ultralytics/yolov5/issues/285",
        "RuntimeError",
        "CUDA out of memory. Tried to allocate 2.60 GiB (GPU 0; 3.81 GiB total capacity; 129.38 "
        "MiB already allocated; 2.12 GiB free; 410.00 MiB reserved in total by PyTorch)",
        gib(2.60),
        mib(410) + gib(2.12),
    ),
    Report(
        "torch 1.0, cached",
        "https://github.com/erikguo/yolov3/issues/4",
        "RuntimeError",
        "CUDA out of memory. Tried to allocate 338.00 MiB (GPU 0; 3.95 GiB total capacity; 1.62 "
        "GiB already allocated; 23.00 MiB free; 9.10 MiB cached)",
        mib(338),
        gib(1.62) + mib(23) + mib(9.10),
    ),
    Report(
        "torch 1.0, in KiB",
        "https://github.com/shllln/GenerativeGraph/issues/5",
        "RuntimeError",
        "CUDA out of memory. Tried to allocate 1024.00 KiB (GPU 0; 11.17 GiB total capacity; 10.90 "
        "GiB already allocated; 576.00 KiB free; 30.96 MiB cached)",
        MIB,
        gib(10.90) + 576 * KIB + mib(30.96),
    ),
    Report(
        "torch 1.8 to 2.7, the driver's",
        "https://github.com/taohan10200/IIM/issues/28",
        "RuntimeError",
        "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported at some "
        "other API call,so the stacktrace below might be incorrect.\nFor debugging consider "
        "passing CUDA_LAUNCH_BLOCKING=1.",
    ),
    Report(
        "torch 2.8, the driver's",
        "https://github.com/deepbeepmeep/Wan2GP/issues/1083",
        "torch.AcceleratorError",
        "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported at some "
        "other API call, so the stacktrace below might be incorrect.\nFor debugging consider "
        "passing CUDA_LAUNCH_BLOCKING=1\nCompile with `TORCH_USE_CUDA_DSA` to enable device-side "
        "assertions.\n",
    ),
    Report(
        "torch 1.4, the driver's alone",
        "https://github.com/DLLXW/data-science-competition/issues/10",
        "RuntimeError",
        "CUDA error: out of memory",
    ),
    Report(
        "torch 0.4, the runtime's",
        "https://github.com/MVIG-SJTU/AlphaPose/issues/154",
        "RuntimeError",
        "cuda runtime error (2) : out of memory at /pytorch/aten/src/THC/generic/THCStorage.cu:58",
    ),
    Report(
        "DataParallel, from a replica",
        "https://github.com/pytorch/pytorch/blob/v2.4.0/torch/_utils.py (ExceptionWrapper.reraise)",
        "torch.OutOfMemoryError",
        "Caught OutOfMemoryError in replica 0 on device 0.\nOriginal Traceback (most recent call "
        'last):\n  File "parallel_apply.py", line 83, in _worker\n    output = module(*input)\n'
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a "
        "total "
        "capacity of 6.00 GiB of which 10.00 MiB is free. Of the allocated memory 5.00 GiB is "
        "allocated by PyTorch, and 30.00 MiB is reserved by PyTorch but unallocated." + _ADVICE,
        mib(20),
        gib(5) + mib(40),
    ),
)

CPU = (
    Report(
        "torch 2.3",
        "https://github.com/mxfold/mxfold2/issues/20",
        "RuntimeError",
        "[enforce fail at alloc_cpu.cpp:75] err == 0. DefaultCPUAllocator: can't allocate memory: "
        "you tried to allocate 132426121216 bytes. Error code 12 (Cannot allocate memory)",
        132426121216,
    ),
    Report(
        "torch 1.12",
        "https://github.com/JingyunLiang/VRT/issues/49",
        "RuntimeError",
        "[enforce fail at alloc_cpu.cpp:73] . DefaultCPUAllocator: can't allocate memory: you "
        "tried to allocate 116813856768 bytes. Error code 12 (Cannot allocate memory)",
        116813856768,
    ),
    Report(
        "torch 1.4",
        "https://github.com/nguyenvanhoang7398/FANG/issues/1",
        "RuntimeError",
        "[enforce fail at CPUAllocator.cpp:64] . DefaultCPUAllocator: can't allocate memory: you "
        "tried to allocate 1178729664 bytes. Error code 12 (Cannot allocate memory)",
        1178729664,
    ),
    Report(
        "torch 1.13 on Windows",
        "https://github.com/MaximeVandegar/Papers-in-100-Lines-of-Code/issues/10",
        "RuntimeError",
        "[enforce fail at "
        "C:\\b\\abs_bao0hdcrdh\\croot\\pytorch_1675190257512\\work\\c10\\core\\impl"
        "\\alloc_cpu.cpp:81] data. DefaultCPUAllocator: not enough memory: you tried to allocate "
        "1981808640 bytes.",
        1981808640,
    ),
    Report(
        "without the heading",
        "https://github.com/IvanoLauriola/MKLpy/issues/27",
        "RuntimeError",
        "DefaultCPUAllocator: not enough memory: you tried to allocate 5077901088 bytes.",
        5077901088,
    ),
    Report(
        "torch 1.0",
        "https://github.com/pytorch/pytorch/pull/20618",
        "RuntimeError",
        "[enforce fail at CPUAllocator.cpp:56] posix_memalign(&data, gAlignment, nbytes) == 0. "
        "12 vs 0",
    ),
    Report(
        "torch 1.1",
        "https://github.com/CETC-TFAI/MaCA/issues/20",
        "RuntimeError",
        "$ Torch: not enough memory: you tried to allocate 3GB. Buy new RAM! at "
        "..\\aten\\src\\TH\\THGeneral.cpp:201",
    ),
)

# Host memory that is not torch's: an answer only inside the training step of a CPU training.
HOST = (
    Report(
        "numpy",
        "https://github.com/roboflow/notebooks/issues/336",
        "numpy._core._exceptions._ArrayMemoryError",
        "Unable to allocate 11.9 MiB for an array with shape (6, 1080, 1920) and data type bool",
    ),
    Report(
        "numpy before 1.20",
        "https://github.com/ultralytics/yolov5/issues/11515",
        "numpy.core._exceptions.MemoryError",
        "Unable to allocate 3.40 GiB for an array with shape (45638241, 10) and data type float64.",
    ),
    Report(
        "the interpreter", "https://docs.python.org/3/library/exceptions.html", "MemoryError", ""
    ),
    Report(
        "C++",
        "https://github.com/hukaixuan19970627/yolov5_obb/issues/262",
        "MemoryError",
        "std::bad_alloc",
    ),
    Report(
        "C++ through torch",
        "https://github.com/pytorch/pytorch/blob/v2.4.0/torch/csrc/Exceptions.h",
        "RuntimeError",
        "std::bad_alloc",
    ),
)

# It has other causes too: in https://github.com/pytorch/pytorch/issues/143651 the same text came
# from a forbidden memory mapping. So it counts only where memory was measured to be short.
DISGUISED = (
    Report(
        "oneDNN",
        "https://github.com/uxlfoundation/oneDNN/issues/1500",
        "RuntimeError",
        "could not create a primitive",
    ),
    Report(
        "oneDNN, elsewhere",
        "https://github.com/uxlfoundation/oneDNN/blob/v3.5/include/oneapi/dnnl/dnnl.hpp",
        "RuntimeError",
        "could not create a memory object",
    ),
)

NOT_OOM = (
    Report("a user's own", "https://example.org/train.py", "RuntimeError", "out of memory"),
    Report("a user's own, longer", "-", "RuntimeError", "CUDA out of memory"),
    Report("a user's own advice", "-", "ValueError", "CUDA out of memory. Tried to allocate 2 GiB"),
    Report(
        "a user's own, quoting torch",
        "-",
        "RuntimeError",
        "step failed: CUDA out of memory. Tried to allocate 1.00 GiB (GPU 0; 8.00 GiB total "
        "capacity; 7.00 GiB already allocated; 0 bytes free; 7.50 GiB reserved in total by "
        "PyTorch)",
    ),
    Report("torch's type, a user's text", "-", "torch.OutOfMemoryError", "no more for you"),
    Report(
        "a request that no device could meet",
        "https://github.com/pytorch/pytorch/blob/v2.4.0/c10/cuda/CUDACachingAllocator.cpp",
        "torch.OutOfMemoryError",
        "CUDA out of memory. Tried to allocate more than 1EB memory.",
    ),
    Report(
        "a DataLoader's worker",
        "-",
        "RuntimeError",
        "Caught RuntimeError in DataLoader worker process 0.\nOriginal Traceback (most recent call "
        "last):\nRuntimeError: CUDA out of memory. Tried to allocate 1.00 GiB (GPU 0; 8.00 GiB "
        "total capacity; 7.00 GiB already allocated; 0 bytes free; 7.50 GiB reserved in total by "
        "PyTorch)",
    ),
    Report(
        "a pinning thread",
        "https://github.com/pytorch/pytorch/blob/v2.4.0/torch/utils/data/_utils/pin_memory.py",
        "torch.OutOfMemoryError",
        "Caught OutOfMemoryError in pin memory thread for device 0.\nOriginal Traceback (most "
        "recent"
        " call last):\ntorch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 MiB.",
    ),
    Report(
        "no thread",
        "https://github.com/open-mmlab/OpenPCDet/issues/329",
        "RuntimeError",
        "can't start new thread",
    ),
    Report(
        "a missing file",
        "-",
        "FileNotFoundError",
        "[Errno 2] No such file or directory: 'out of memory.yaml'",
    ),
    Report("the disk", "-", "OSError", "[Errno 28] No space left on device"),
    Report("the system", "-", "OSError", "[Errno 12] Cannot allocate memory"),
)

# Failures of what loads the images, each with what was short. The longer ones are cut in the middle
# of their tracebacks.
LOADING = (
    (
        "WORKERS",
        Report(
            "a worker killed",
            "https://github.com/ultralytics/yolov5/issues/8366",
            "RuntimeError",
            "DataLoader worker (pid 26455) is killed by signal: Killed. ",
        ),
    ),
    (
        "SHARED",
        Report(
            "shared memory",
            "https://github.com/ultralytics/yolov3/issues/1151",
            "RuntimeError",
            "DataLoader worker (pid 3855) is killed by signal: Bus error. It is possible that "
            "dataloader's workers are out of shared memory. Please try to raise your shared memory "
            "limit.",
        ),
    ),
    (
        "SHARED",
        Report(
            "a file of shared memory",
            "torch/storage.py, c10: MapAllocator.cpp",
            "RuntimeError",
            "Caught RuntimeError in DataLoader worker process 0.\nOriginal Traceback (most recent "
            'call last):\n  File "worker.py", line 309, in _worker_loop\n'
            "RuntimeError: unable to allocate shared memory(shm) for file </torch_71_2405_1>: "
            "No space left on device (28)\n",
        ),
    ),
    (
        "SHARED",
        Report(
            "a file of shared memory, older",
            "torch up to 1.9",
            "RuntimeError",
            "unable to write to file </torch_18692_1954506624>",
        ),
    ),
    (
        "WORKERS",
        Report(
            "a worker without memory",
            "torch/_utils.py: ExceptionWrapper",
            "MemoryError",
            "Caught MemoryError in DataLoader worker process 3.\nOriginal Traceback (most recent "
            'call last):\n  File "worker.py", line 309, in _worker_loop\nMemoryError\n',
        ),
    ),
    (
        "PINNED",
        Report(
            "pinned memory",
            "torch/utils/data/_utils/pin_memory.py",
            "RuntimeError",
            "Caught RuntimeError in pin memory thread for device 0.\nOriginal Traceback (most "
            'recent call last):\n  File "pin_memory.py", line 37, in do_one_step\n'
            "RuntimeError: CUDA error: out of memory\nCUDA kernel errors might be asynchronously "
            "reported at some other API call, so the stacktrace below might be incorrect.\n",
        ),
    ),
)

# Texts of a host without memory that say it only while images are cached in it.
CACHING = (
    Report(
        "OpenCV",
        "modules/core/src/alloc.cpp",
        "cv2.error",
        "OpenCV(4.11.0) /io/opencv/modules/core/src/alloc.cpp:73: error: (-4:Insufficient memory) "
        "Failed to allocate 1228800 bytes in function 'OutOfMemoryError'\n",
    ),
    Report("the system", "-", "OSError", "[Errno 12] Cannot allocate memory"),
)

# What is wrong with the device and not with its memory, in the CUDA runtime's words.
DEVICE_FAULTS = (
    Report(
        "a device-side assert",
        "https://github.com/ultralytics/ultralytics/issues/4160",
        "RuntimeError",
        "CUDA error: device-side assert triggered\nCUDA kernel errors might be asynchronously "
        "reported at some other API call,so the stacktrace below might be incorrect.",
    ),
    Report(
        "an illegal access",
        "https://github.com/bubbliiiing/yolo3-pytorch/issues/83",
        "torch.AcceleratorError",
        "CUDA error: an illegal memory access was encountered",
    ),
    Report(
        "an illegal access, older",
        "https://github.com/MathsShen/DaSiamRPNWithOfflineTraining/issues/15",
        "RuntimeError",
        "CUDA error: an illegal memory access was encountered",
    ),
    Report(
        "the runtime's own number",
        "https://github.com/pytorch/examples/issues/548 (line of THCudaCheck), in the form of "
        "THC/THCGeneral.cpp",
        "RuntimeError",
        "cuda runtime error (77) : an illegal memory access was encountered at "
        "/pytorch/aten/src/THC/THCCachingHostAllocator.cpp:265",
    ),
)

# Libraries that may have had no memory for a workspace or a handle, or may have failed otherwise.
DISGUISED_DEVICE = (
    Report(
        "cuDNN found no algorithm",
        "https://github.com/ultralytics/yolov5/issues/11250",
        "RuntimeError",
        "Unable to find a valid cuDNN algorithm to run convolution",
    ),
    Report(
        "cuDNN found no algorithm, torch 1.5",
        "https://github.com/deepakn97/relationPrediction/issues/37",
        "RuntimeError",
        "Unable to find a valid cuDNN algorithm to run convolution (try_all at "
        "/opt/conda/conda-bld/pytorch_1591914868920/work/aten/src/ATen/native/cudnn/Conv.cpp:693)",
    ),
    Report(
        "cuDNN found no algorithm, in a replica",
        "https://github.com/ultralytics/yolov5/issues/4463 (cut in its traceback)",
        "RuntimeError",
        "Caught RuntimeError in replica 0 on device 0.\nOriginal Traceback (most recent call "
        'last):\n  File "parallel_apply.py", line 61, in _worker\n    output = module(*input)\n'
        "RuntimeError: Unable to find a valid cuDNN algorithm to run convolution\n",
    ),
    Report(
        "cuDNN found no engine",
        "https://github.com/facebookresearch/dinov2/issues/158",
        "RuntimeError",
        "GET was unable to find an engine to execute this computation",
    ),
    Report(
        "cuDNN found no engine, searching",
        "https://github.com/facebookresearch/vggt/issues/183",
        "RuntimeError",
        "FIND was unable to find an engine to execute this computation",
    ),
    Report(
        "cuDNN got no memory",
        "https://github.com/KupynOrest/DeblurGAN/issues/128",
        "RuntimeError",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
    ),
    Report(
        "cuDNN's internal error",
        "https://github.com/ultralytics/yolov5/issues/1546",
        "RuntimeError",
        "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR",
    ),
    Report(
        "cuBLAS got no handle",
        "https://github.com/ultralytics/ultralytics/issues/3243",
        "RuntimeError",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    ),
    Report(
        "cuBLAS was not initialised",
        "https://github.com/ultralytics/yolov5/issues/8914",
        "RuntimeError",
        "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
    ),
    Report(
        "cuBLAS failed",
        "https://github.com/KaiyangZhou/deep-person-reid/issues/570",
        "RuntimeError",
        "CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm( handle, opa, opb, "
        "m, n, k, &alpha, a, lda, b, ldb, &beta, c, ldc)`",
    ),
)

# Somebody else has the memory, in torch's own list of processes.
NEIGHBOURS = (
    Report(
        "another model in another process",
        "https://github.com/ultralytics/ultralytics/issues/9189",
        "torch.cuda.OutOfMemoryError",
        "CUDA out of memory. Tried to allocate 2.75 GiB. GPU 0 has a total capacity of 15.73 GiB "
        "of which 2.36 GiB is free. Process 1551 has 6.69 GiB memory in use. Including non-PyTorch "
        "memory, this process has 6.67 GiB memory in use. Of the allocated memory 5.31 GiB is "
        "allocated by PyTorch, and 19.78 MiB is reserved by PyTorch but unallocated. If reserved "
        "but unallocated memory is large try setting PITCH_CUDA_MALLOC_CONF=expandable_segments:"
        "True to avoid fragmentation.  See documentation for Memory Management  "
        "(https://pytorch.org/docs/stable/notes/cuda.html#environment-variables)",
        gib(2.75),
        gib(5.31) + mib(19.78) + gib(2.36),
    ),
    Report(
        "nearly the whole device",
        "https://github.com/ultralytics/ultralytics/issues/7030",
        "torch.OutOfMemoryError",
        "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 23.67 GiB "
        "of which 1.12 MiB is free. Process 4009449 has 22.37 GiB memory in use. Including "
        "non-PyTorch memory, this process has 1.29 GiB memory in use. Of the allocated memory "
        "977.30 MiB is allocated by PyTorch, and 10.70 MiB is reserved by PyTorch but unallocated."
        + _ADVICE,
        mib(20),
        mib(977.30) + mib(10.70) + mib(1.12),
    ),
)

# More was free than was asked for.
FREE_MEMORY = (
    Report(
        "torch 1.2, the host was full",
        "https://github.com/pytorch/pytorch/issues/40002",
        "RuntimeError",
        "CUDA out of memory. Tried to allocate 50.00 MiB (GPU 0; 6.00 GiB total capacity; 693.78 "
        "MiB already allocated; 3.91 GiB free; 18.22 MiB cached)",
        mib(50),
        mib(693.78) + gib(3.91) + mib(18.22),
    ),
    Report(
        "torch 1.0, a device nearly empty",
        "https://github.com/pytorch/pytorch/issues/16417",
        "RuntimeError",
        "CUDA out of memory. Tried to allocate 12.50 MiB (GPU 0; 10.92 GiB total capacity; 8.57 "
        "MiB already allocated; 9.28 GiB free; 4.68 MiB cached)",
        mib(12.5),
        mib(8.57) + gib(9.28) + mib(4.68),
    ),
    Report(
        "torch 1.7, on Windows",
        "https://github.com/ultralytics/yolov5/issues/1698",
        "RuntimeError",
        "CUDA out of memory. Tried to allocate 294.00 MiB (GPU 0; 6.00 GiB total capacity; 118.62 "
        "MiB already allocated; 4.20 GiB free; 362.00 MiB reserved in total by PyTorch)",
        mib(294),
        gib(4.20) + mib(362),
    ),
    Report(
        "torch 2.1, nothing allocated",
        "https://github.com/levihsu/OOTDiffusion/issues/167",
        "torch.cuda.OutOfMemoryError",
        "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacty of 4.00 GiB of "
        "which 2.80 GiB is free. Of the allocated memory 0 bytes is allocated by PyTorch, and 0 "
        "bytes is reserved by PyTorch but unallocated.",
        gib(2),
        gib(2.8),
    ),
)

# The first batch after a resume, with nothing changed.
RESUMED = (
    Report(
        "a resume in the notebook that had trained before",
        "https://github.com/ultralytics/yolov5/issues/1353",
        "RuntimeError",
        "CUDA out of memory. Tried to allocate 250.00 MiB (GPU 0; 14.73 GiB total capacity; 13.21 "
        "GiB already allocated; 65.88 MiB free; 13.62 GiB reserved in total by PyTorch)",
        mib(250),
        gib(13.62) + mib(65.88),
    ),
)

# A rank that says only that the way to another one is gone.
ECHOES = (
    Report(
        "NCCL, in the setup",
        "https://github.com/ultralytics/ultralytics/issues/19375",
        "torch.distributed.DistBackendError",
        "NCCL error in: /pytorch/torch/csrc/distributed/c10d/ProcessGroupNCCL.cpp:3384, unhandled "
        "cuda error (run with NCCL_DEBUG=INFO for details)",
    ),
    Report(
        "NCCL, with its last error",
        "https://github.com/NVIDIA/nccl/issues/1410",
        "torch.distributed.DistBackendError",
        "NCCL error in: ../torch/csrc/distributed/c10d/NCCLUtils.hpp:275, unhandled cuda error "
        "(run with NCCL_DEBUG=INFO for details), NCCL version 2.20.5\nncclUnhandledCudaError: Call "
        "to CUDA function failed.\nLast error:\nCuda failure 1 'invalid argument'",
    ),
)
