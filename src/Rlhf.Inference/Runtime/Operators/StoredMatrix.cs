using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using static TorchSharp.torch;

namespace Rlhf.Runtime.Operators;

/// <summary>A matrix [O, I] in memory that stays where it is, and its bias [O], if any.</summary>
internal readonly unsafe struct StoredMatrix
{
    public required void* Weight { get; init; }

    public float* Bias { get; init; }

    public required int Inputs { get; init; }

    public required int Outputs { get; init; }

    /// <summary>Numbers from one output's to the next; 0, the default, is <see cref="Inputs"/>.</summary>
    public int Stride { get; init; }

    /// <summary>bfloat16; otherwise float32, or int8 where there is a <see cref="Scale"/>.</summary>
    public bool IsBfloat16 { get; init; }

    /// <summary>Of int8, what each output's numbers are multiplied with [O]; null for other numbers.</summary>
    public float* Scale { get; init; }

    /// <summary>A matrix [O, I] as a tensor has it: float32, bfloat16 or int8, contiguous.</summary>
    public static StoredMatrix Of(Tensor weight, float* bias = null) => new()
    {
        Weight = TensorPointer.Of(weight),
        Bias = bias,
        Inputs = (int)weight.shape[1],
        Outputs = (int)weight.shape[0],
        IsBfloat16 = weight.dtype == ScalarType.BFloat16,
        Scale = weight is Int8Parameter matrix ? (float*)TensorPointer.Of(matrix.Scale) : null,
    };

    /// <summary>Numbers from one output's to the next.</summary>
    public int Step => Stride == 0 ? Inputs : Stride;
}

/// <summary>What numbers are stored as; read as float32.</summary>
internal unsafe interface IStoredNumbers
{
    /// <summary>16 numbers from a place on.</summary>
    static abstract Vector512<float> Load(void* numbers, long at);

    /// <summary>One number.</summary>
    static abstract float Get(void* numbers, long at);

    /// <summary>Where a number is.</summary>
    static abstract void* At(void* numbers, long at);
}

/// <summary>float32.</summary>
internal readonly unsafe struct Float32Numbers : IStoredNumbers
{
    public static Vector512<float> Load(void* numbers, long at) => Vector512.Load((float*)numbers + at);

    public static float Get(void* numbers, long at) => ((float*)numbers)[at];

    public static void* At(void* numbers, long at) => (float*)numbers + at;
}

/// <summary>int8, without its scale.</summary>
internal readonly unsafe struct Int8Numbers : IStoredNumbers
{
    public static Vector512<float> Load(void* numbers, long at) =>
        Avx512F.ConvertToVector512Single(Avx512F.ConvertToVector512Int32(Vector128.Load((sbyte*)numbers + at)));

    public static float Get(void* numbers, long at) => ((sbyte*)numbers)[at];

    public static void* At(void* numbers, long at) => (sbyte*)numbers + at;
}

/// <summary>bfloat16, which are the upper halves of float32.</summary>
internal readonly unsafe struct Bfloat16Numbers : IStoredNumbers
{
    public static Vector512<float> Load(void* numbers, long at) =>
        Vector512.ShiftLeft(Avx512F.ConvertToVector512UInt32(Vector256.Load((ushort*)numbers + at)), 16).AsSingle();

    public static float Get(void* numbers, long at) => BitConverter.UInt32BitsToSingle((uint)((ushort*)numbers)[at] << 16);

    public static void* At(void* numbers, long at) => (ushort*)numbers + at;
}
