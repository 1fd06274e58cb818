using Microsoft.Win32.SafeHandles;
using Rlhf.Weights.PyTorch;
using static TorchSharp.torch;

namespace Rlhf.Weights;

/// <summary>
/// An open file of weights as <c>torch.save</c> writes it, in the zip form (PyTorch 1.6 and later) or the one before. Such files
/// are programs in Python's pickle format: only those that rebuild tensors are followed, anything else is refused by name.
/// </summary>
/// <remarks>
/// When the file holds a dict without tensors of its own, as training checkpoints do, the state dict in it is taken: the one
/// under <c>state_dict</c>, <c>model_state_dict</c>, <c>model</c> or <c>module</c>, or the only one there is. Values that are
/// not tensors are left out.
/// </remarks>
public sealed class PyTorchBin : IWeightSource
{
    /// <summary>
    /// A few bytes of pickle can describe an enormous tensor whose elements are all one (an expanded one), or many tensors on one
    /// storage. All tensors together may take this much beyond 8 times the file.
    /// </summary>
    private const long SharedBytes = 1L << 30;

    private readonly SafeFileHandle file;
    private readonly Dictionary<string, PickledTensor> tensors;
    private readonly IReadOnlyDictionary<string, long> storageStarts;

    private PyTorchBin(
        string path,
        SafeFileHandle file,
        Dictionary<string, PickledTensor> tensors,
        IReadOnlyDictionary<string, long> storageStarts)
    {
        (Path, this.file, this.tensors, this.storageStarts) = (path, file, tensors, storageStarts);
    }

    /// <inheritdoc/>
    public string Path { get; }

    /// <inheritdoc/>
    public IReadOnlyCollection<string> Names => tensors.Keys;

    /// <summary>Opens a file and checks everything but the tensors' values.</summary>
    /// <exception cref="FileNotFoundException">There is no such file.</exception>
    /// <exception cref="InvalidDataException">
    /// The file is damaged, or its pickle does more than rebuild tensors; the message says what.
    /// </exception>
    /// <exception cref="IOException">The file cannot be read.</exception>
    /// <exception cref="UnauthorizedAccessException">The file may not be read, or is a folder.</exception>
    public static PyTorchBin Open(string path)
    {
        var (file, length) = Untrusted.Open(path);
        try
        {
            var prefix = new byte[4];
            var zipped = Untrusted.Fill(file, prefix, 0) && prefix.AsSpan().SequenceEqual("PK\x03\x04"u8);
            var content = zipped ? TorchZip.Read(file, length, path) : TorchLegacy.Read(path);
            var tensors = StateDict.Find(path, content.Root);
            RequireRoom(path, length, tensors);
            return new(path, file, tensors, content.StorageStarts);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    private static void RequireRoom(string path, long fileLength, Dictionary<string, PickledTensor> tensors)
    {
        Int128 bytes = 0;
        foreach (var (name, tensor) in tensors)
            bytes += (Int128)Untrusted.ElementCount(path, name, tensor.Shape) * Untrusted.Width(tensor.Storage.Type);
        if (bytes > (Int128)fileLength * 8 + SharedBytes)
            throw Untrusted.Refuse(path,
                $"the tensors would take {bytes} bytes, far more than the file's {fileLength}; the file is refused.");
    }

    /// <inheritdoc/>
    public long[] Shape(string name) => [.. Tensor(name).Shape];

    /// <inheritdoc/>
    public ScalarType ElementType(string name) => Tensor(name).Storage.Type;

    /// <inheritdoc/>
    public void ReadInto(string name, Tensor destination)
    {
        ObjectDisposedException.ThrowIf(file.IsClosed, this);
        var tensor = Tensor(name);
        var start = storageStarts[tensor.Storage.Key] + tensor.Offset * Untrusted.Width(tensor.Storage.Type);
        if (IsRowMajor(tensor))
            TensorMemory.Read(file, Path, name, tensor.Storage.Type, tensor.Shape, start, destination);
        else
            TensorMemory.ReadStrided(file, Path, name, tensor.Storage.Type, tensor.Shape, tensor.Strides, start, destination);
    }

    private static bool IsRowMajor(PickledTensor tensor)
    {
        if (tensor.Shape.Contains(0))
            return true;
        var step = 1L;
        for (var i = tensor.Shape.Length - 1; i >= 0; step *= tensor.Shape[i--])
            if (tensor.Shape[i] != 1 && tensor.Strides[i] != step)
                return false;
        return true;
    }

    private PickledTensor Tensor(string name) =>
        tensors.TryGetValue(name, out var tensor) ? tensor : throw Untrusted.NoTensor(Path, name);

    /// <inheritdoc/>
    public void Dispose() => file.Dispose();
}
