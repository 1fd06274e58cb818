using System.Buffers.Binary;
using System.IO.Compression;
using System.Text;
using Rlhf.Runtime.Native;
using TorchSharp;

namespace Rlhf.Runtime.Operators;

/// <summary>
/// TorchScript functions that may call every operator of libtorch, <c>ops.namespace.name</c>. (<c>torch.jit.compile</c> reaches those of
/// <c>torch.</c> alone.) The source is packed, in memory, into the archive that <c>torch.jit.load</c> reads.
/// </summary>
internal sealed class OperatorScript
{
    private const string ModuleName = "Operators";
    private readonly torch.jit.ScriptModule module;

    /// <summary>Compiles functions.</summary>
    /// <param name="functions">
    /// Definitions, <c>def name(a: Tensor, …) -&gt; Tensor:</c> with their bodies, not indented. A list literal of another element type
    /// than Tensor needs <c>annotate</c>.
    /// </param>
    public OperatorScript(string functions) => module = torch.jit.load(Archive(functions));

    /// <summary>Calls a function.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="arguments">Tensors, arrays of tensors, numbers, booleans, or null for None.</param>
    public torch.Tensor Invoke(string name, params object?[] arguments) =>
        (torch.Tensor)ScriptArguments.Call(arguments, prepared => Call(name, prepared))!;

    /// <summary>Calls a function that returns a list of tensors.</summary>
    /// <inheritdoc cref="Invoke"/>
    public torch.Tensor[] InvokeList(string name, params object?[] arguments) =>
        (torch.Tensor[])ScriptArguments.Call(arguments, prepared => Call(name, prepared))!;

    private object Call(string name, object[] arguments)
    {
        using var signals = HeldSignals.Begin();
        return module.invoke(name, arguments);
    }

    private static byte[] Archive(string functions)
    {
        var code = new StringBuilder(
            $"class {ModuleName}(Module):\n  __parameters__ = []\n  __buffers__ = []\n  training : bool\n");
        foreach (string line in functions.ReplaceLineEndings("\n").Split('\n'))
            if (line.Length > 0)
                code.Append("  ").Append(line.StartsWith("def ", StringComparison.Ordinal)
                    ? line.Insert(line.IndexOf('(') + 1, $"self: __torch__.{ModuleName}, ") : line).Append('\n');
        var stream = new MemoryStream();
        using (var zip = new ZipArchive(stream, ZipArchiveMode.Create, leaveOpen: true))
        {
            Add(zip, "data.pkl", Pickle());
            Add(zip, "code/__torch__.py", Encoding.UTF8.GetBytes(code.ToString()));
            // An empty tuple.
            Add(zip, "constants.pkl", [0x80, 2, (byte)')', (byte)'.']);
            // The format in which operators mean what they do today; older ones would be translated.
            Add(zip, "version", "10\n"u8.ToArray());
        }
        return stream.ToArray();
    }

    private static void Add(ZipArchive zip, string name, byte[] content)
    {
        using var entry = zip.CreateEntry("archive/" + name, CompressionLevel.NoCompression).Open();
        entry.Write(content);
    }

    /// <summary>An object of the class whose state is {"training": False}, in protocol 2.</summary>
    private static byte[] Pickle()
    {
        Span<byte> length = stackalloc byte[4];
        BinaryPrimitives.WriteInt32LittleEndian(length, "training".Length);
        return
        [
            0x80, 2, (byte)'c', .. Encoding.ASCII.GetBytes($"__torch__\n{ModuleName}\n"), (byte)')', 0x81, (byte)'}', (byte)'(',
            (byte)'X', .. length, .. "training"u8, 0x89, (byte)'u', (byte)'b', (byte)'.',
        ];
    }
}
