using Microsoft.Win32.SafeHandles;

namespace Rlhf.Weights.PyTorch;

/// <summary>What a torch.save file holds, and where in the file each of its storages begins.</summary>
internal sealed record TorchContent(object? Root, IReadOnlyDictionary<string, long> StorageStarts);

/// <summary>The form since PyTorch 1.6: a zip file with the members root/data.pkl, root/data/KEY and root/byteorder.</summary>
internal static class TorchZip
{
    /// <summary>The longest pickle that is read; that of a state dict takes about 200 bytes per tensor.</summary>
    public const long MostPickleBytes = 64 << 20;

    private const string PickleName = "/data.pkl";

    public static TorchContent Read(SafeFileHandle file, long length, string path)
    {
        var zip = ZipMembers.Read(file, length, path);
        var root = Root(zip, path);
        RequireLittleEndian(zip, file, root, path);
        var (value, storages) = RestrictedUnpickler.Run(Pickle(zip, file, root, path));
        var starts = new Dictionary<string, long>();
        foreach (var storage in storages.Values)
        {
            var (start, size) = zip.Locate($"{root}/data/{storage.Key}");
            var needed = (Int128)storage.Elements * Untrusted.Width(storage.Type);
            if (size < needed)
                throw Untrusted.Refuse(path,
                    $"storage {Untrusted.Quote(storage.Key)} has {size} bytes, but its tensors need {needed}.");
            starts.Add(storage.Key, start);
        }
        return new(value, starts);
    }

    private static string Root(ZipMembers zip, string path)
    {
        var pickles = zip.Names.Where(name => name.EndsWith(PickleName, StringComparison.Ordinal)).ToList();
        if (pickles.Count != 1)
            throw Untrusted.Refuse(path,
                $"not a file of torch.save: the zip file has {pickles.Count} members data.pkl where one is expected.");
        var root = pickles[0][..^PickleName.Length];
        if (zip.Names.Contains(root + "/constants.pkl"))
            throw Untrusted.Refuse(path,
                "this is a TorchScript program (torch.jit.save); save the weights with torch.save(model.state_dict(), path).");
        return root;
    }

    private static void RequireLittleEndian(ZipMembers zip, SafeFileHandle file, string root, string path)
    {
        if (!zip.Names.Contains(root + "/byteorder")) // absent before PyTorch 2.1
            return;
        var (start, length) = zip.Locate(root + "/byteorder");
        var order = new byte["little".Length];
        if (length != order.Length || !Untrusted.Fill(file, order, start) || !order.SequenceEqual("little"u8.ToArray()))
            throw Untrusted.Refuse(path, "the file was written by a big-endian machine; save it again on a little-endian one.");
    }

    private static PickleInput Pickle(ZipMembers zip, SafeFileHandle file, string root, string path)
    {
        var (start, length) = zip.Locate(root + PickleName);
        if (length > MostPickleBytes)
            throw Untrusted.Refuse(path,
                $"data.pkl has {length} bytes; a state dict's pickle is not longer than {MostPickleBytes}.");
        var pickle = new byte[length];
        if (!Untrusted.Fill(file, pickle, start))
            throw Untrusted.Refuse(path, "the file ends inside data.pkl.");
        return new(new MemoryStream(pickle, writable: false), path, length);
    }
}
