package rpm

// Tags of the signature header (rpmtag.h, RPMSIGTAG_…).
const (
	tagSigRegion      = 62
	tagSigDSA         = 267 // DSA, ECDSA and EdDSA, over the main header
	tagSigRSA         = 268 // over the main header
	tagSigLongSize    = 270
	tagSigLongArchive = 271
	tagSigSHA256      = 273 // of the main header, hexadecimal
	tagSigOpenPGP     = 278 // rpm 6: any number of signatures, base64
	tagSigSize        = 1000
	tagSigPGP         = 1002 // over header and payload
	tagSigGPG         = 1005 // over header and payload
	tagSigArchive     = 1007
	tagSigReserved    = 1008 // room that a signature may take
)

// Tags of the main header (rpmtag.h, RPMTAG_…).
const (
	tagMainRegion    = 63
	tagName          = 1000
	tagVersion       = 1001
	tagRelease       = 1002
	tagEpoch         = 1003
	tagSummary       = 1004
	tagDescription   = 1005
	tagBuildTime     = 1006
	tagBuildHost     = 1007
	tagSize          = 1009
	tagVendor        = 1011
	tagLicense       = 1014
	tagPackager      = 1015
	tagGroup         = 1016
	tagURL           = 1020
	tagArch          = 1022
	tagFileSizes     = 1028
	tagFileModes     = 1030
	tagFileTimes     = 1034
	tagFileDigests   = 1035
	tagFileLinks     = 1036
	tagFileFlags     = 1037
	tagFileUsers     = 1039
	tagFileGroups    = 1040
	tagSourceRPM     = 1044
	tagFileVerify    = 1045
	tagArchiveSize   = 1046
	tagExcludeArch   = 1059
	tagExclusiveArch = 1061
	tagChangeTime    = 1080
	tagChangeName    = 1081
	tagChangeText    = 1082
	tagCookie        = 1094
	tagFileDevices   = 1095
	tagFileInodes    = 1096
	tagDirIndexes    = 1116
	tagBaseNames     = 1117
	tagDirNames      = 1118
	tagOptFlags      = 1122
	tagPayloadFormat = 1124
	tagSourceID      = 1146
	tagLongFileSizes = 5008
	tagLongSize      = 5009
	tagFileDigestAlg = 5011
	tagPayloadDigest = 5092
	tagModularity    = 5096
	tagPayloadAlg    = 5093
	tagPayloadPlain  = 5097 // digest of the payload before compression

	tagPayloadCompressor = 1125
	tagPayloadFlags      = 1126
)

// Scripts of a package, what runs each, and of triggers what they wait for.
const (
	tagPreIn                   = 1023
	tagPostIn                  = 1024
	tagPreUn                   = 1025
	tagPostUn                  = 1026
	tagTriggerScripts          = 1065
	tagTriggerNames            = 1066
	tagPreInProg               = 1085
	tagPostInProg              = 1086
	tagPreUnProg               = 1087
	tagPostUnProg              = 1088
	tagTriggerProg             = 1092
	tagPreTrans                = 1151
	tagPostTrans               = 1152
	tagPreTransProg            = 1153
	tagPostTransProg           = 1154
	tagFileTriggerScripts      = 5066
	tagFileTriggerProg         = 5067
	tagFileTriggerNames        = 5069
	tagTransFileTriggerScripts = 5076
	tagTransFileTriggerProg    = 5077
	tagTransFileTriggerNames   = 5079
)

// Name, version and flags of each kind of dependency.
var (
	tagProvides    = [3]uint32{1047, 1113, 1112}
	tagRequires    = [3]uint32{1049, 1050, 1048}
	tagConflicts   = [3]uint32{1054, 1055, 1053}
	tagObsoletes   = [3]uint32{1090, 1115, 1114}
	tagRecommends  = [3]uint32{5046, 5047, 5048}
	tagSuggests    = [3]uint32{5049, 5050, 5051}
	tagSupplements = [3]uint32{5052, 5053, 5054}
	tagEnhances    = [3]uint32{5055, 5056, 5057}
)

// algSHA256 is SHA-256 in OpenPGP's registry of hashes, which rpm uses.
const algSHA256 = 8
