using System.Runtime.Intrinsics.X86;
using Rlhf.Models.Decoders;
using Rlhf.Models.Fused;
using Rlhf.Models.Gpt2;
using Rlhf.Runtime.Operators;

namespace Rlhf.Tests.Models;

/// <summary>Tests that turn process-wide shortcuts on and off; no other test runs beside them.</summary>
[CollectionDefinition(Name, DisableParallelization = true)]
public sealed class ShortcutCollection
{
    public const string Name = "Shortcuts";
}

/// <summary>Fused blocks and the matrix library as asked for, until it is disposed.</summary>
internal sealed class Shortcuts : IDisposable
{
    private readonly bool fusedBlocks = FusedBlocks.Enabled;
    private readonly MatrixLibrary library = MatrixProduct.Library;
    private readonly long fewestNumbers = PackedAttention.FewestNumbers;

    public Shortcuts(bool fusedBlocks, MatrixLibrary library, bool packsAttention = false)
    {
        (FusedBlocks.Enabled, MatrixProduct.Library) = (fusedBlocks, library);
        if (packsAttention)
            PackedAttention.FewestNumbers = 0;
    }

    /// <summary>The matrix libraries that libtorch brings on this machine: oneDNN's operators exist on x86.</summary>
    public static MatrixLibrary[] Libraries =>
        X86Base.IsSupported ? [MatrixLibrary.Default, MatrixLibrary.OneDnn] : [MatrixLibrary.Default];

    public void Dispose() =>
        (FusedBlocks.Enabled, MatrixProduct.Library, PackedAttention.FewestNumbers) = (fusedBlocks, library, fewestNumbers);
}
