/*
 * Messages of route(4), laid out by the systems' own headers. `make.sh` compiles this for a system
 * and writes what lies in memory to a file, one message a line.
 */
#include <sys/types.h>
#include <sys/param.h>
#include <sys/socket.h>
#include <net/if.h>
#include <net/if_dl.h>
#include <net/route.h>
#include <netinet/in.h>
#include <stddef.h>

/* Each address takes a multiple of a long. */
#define PADDED(type)                                                                               \
	union {                                                                                    \
		struct type a;                                                                     \
		char pad[(sizeof(struct type) + sizeof(long) - 1) / sizeof(long) * sizeof(long)];  \
	}
#define PACKED __attribute__((packed, aligned(8)))
#define MESSAGE(name) __attribute__((section("message." #name)))

#ifdef __OpenBSD__
#define HEADER(prefix, type, size) .prefix##_hdrlen = (size),
#define TABLE(prefix, id) .prefix##_tableid = (id),
#else
#define HEADER(prefix, type, size)
#define TABLE(prefix, id)
#endif

#ifdef __OpenBSD__
#define STATE_UP LINK_STATE_FULL_DUPLEX
#define DATALEN
#else
#define STATE_UP LINK_STATE_UP
#define DATALEN .ifi_datalen = sizeof(struct if_data),
#endif

#define IF_MSGHDR(whole, index, flags, state, mtu, addrs, table)                                   \
	{                                                                                          \
		.ifm_msglen = sizeof(whole), .ifm_version = RTM_VERSION, .ifm_type = RTM_IFINFO,   \
		HEADER(ifm, if_msghdr, sizeof(struct if_msghdr)) TABLE(ifm, table)                 \
		.ifm_index = (index), .ifm_flags = (flags), .ifm_addrs = (addrs),                  \
		.ifm_data = { DATALEN .ifi_link_state = (state), .ifi_mtu = (mtu) },               \
	}

#define IFA_MSGHDR(whole, type, index, addrs, table)                                               \
	{                                                                                          \
		.ifam_msglen = sizeof(whole), .ifam_version = RTM_VERSION, .ifam_type = (type),    \
		HEADER(ifam, ifa_msghdr, sizeof(struct ifa_msghdr)) TABLE(ifam, table)             \
		.ifam_index = (index), .ifam_addrs = (addrs),                                      \
	}

#define IN(a, b, c, d)                                                                             \
	{ { .sin_len = sizeof(struct sockaddr_in), .sin_family = AF_INET,                          \
	    .sin_addr.s_addr = (a) | (b) << 8 | (c) << 16 | (unsigned)(d) << 24 } }
#define IN6(...)                                                                                   \
	{ { .sin6_len = sizeof(struct sockaddr_in6), .sin6_family = AF_INET6,                      \
	    .sin6_addr.s6_addr = { __VA_ARGS__ } } }

#define FLAGS (IFF_UP | IFF_BROADCAST | IFF_RUNNING | IFF_SIMPLEX | IFF_MULTICAST)

/* As NET_RT_IFLIST has it: with the interface's name. */
struct listed {
	struct if_msghdr header;
	PADDED(sockaddr_dl) link;
} PACKED listed MESSAGE(listed) = {
	IF_MSGHDR(listed, 3, FLAGS, STATE_UP, 1500, RTA_IFP, 0),
	{ { .sdl_len = sizeof(struct sockaddr_dl), .sdl_family = AF_LINK, .sdl_index = 3,
	    .sdl_type = 6, .sdl_nlen = 3, .sdl_alen = 6, .sdl_data = "em0\2\0\0\0\0\1" } },
};

/* As the route socket has it. */
struct if_msghdr no_carrier MESSAGE(no_carrier) =
    IF_MSGHDR(no_carrier, 3, FLAGS, LINK_STATE_DOWN, 1500, 0, 0);
struct if_msghdr down MESSAGE(down) =
    IF_MSGHDR(down, 3, FLAGS & ~IFF_UP, STATE_UP, 1500, 0, 0);
struct if_msghdr carrier_unknown MESSAGE(carrier_unknown) =
    IF_MSGHDR(carrier_unknown, 300, IFF_UP | IFF_LOOPBACK, LINK_STATE_UNKNOWN, 32768, 0, 0);
#ifdef __OpenBSD__
struct if_msghdr other_domain MESSAGE(other_domain) =
    IF_MSGHDR(other_domain, 3, FLAGS, STATE_UP, 1500, 0, 2);
#endif

#define ADDRS (RTA_IFA | RTA_NETMASK | RTA_BRD)
struct inet {
	struct ifa_msghdr header;
	PADDED(sockaddr_in) mask, address, broadcast;
} PACKED;
struct inet new_inet MESSAGE(new_inet) = {
	IFA_MSGHDR(new_inet, RTM_NEWADDR, 3, ADDRS, 0),
	IN(255, 255, 255, 0), IN(10, 0, 1, 1), IN(10, 0, 1, 255),
};
struct inet deleted_inet MESSAGE(deleted_inet) = {
	IFA_MSGHDR(deleted_inet, RTM_DELADDR, 3, ADDRS, 0),
	IN(255, 255, 255, 0), IN(10, 0, 1, 1), IN(10, 0, 1, 255),
};
struct inet point_to_point MESSAGE(point_to_point) = {
	IFA_MSGHDR(point_to_point, RTM_NEWADDR, 4, ADDRS, 0),
	IN(255, 255, 255, 255), IN(10, 9, 0, 1), IN(10, 9, 0, 2),
};

/* The name of the interface besides, in front of its address. */
struct with_link {
	struct ifa_msghdr header;
	PADDED(sockaddr_in) mask;
	PADDED(sockaddr_dl) link;
	PADDED(sockaddr_in) address;
} PACKED with_link MESSAGE(with_link) = {
	IFA_MSGHDR(with_link, RTM_NEWADDR, 3, RTA_IFA | RTA_NETMASK | RTA_IFP, 0),
	IN(255, 255, 0, 0),
	{ { .sdl_len = sizeof(struct sockaddr_dl), .sdl_family = AF_LINK, .sdl_index = 3,
	    .sdl_nlen = 3, .sdl_data = "em0" } },
	IN(172, 16, 5, 6),
};

/* A mask without its zeros: 7 octets, of which 3 are the mask. */
struct short_mask {
	struct ifa_msghdr header;
	union {
		unsigned char octets[7];
		long pad[sizeof(long) == 8 ? 1 : 2];
	} mask;
	PADDED(sockaddr_in) address;
} PACKED short_mask MESSAGE(short_mask) = {
	IFA_MSGHDR(short_mask, RTM_NEWADDR, 3, RTA_IFA | RTA_NETMASK, 0),
	{ { 7, 0, 0, 0, 255, 255, 240 } }, IN(10, 16, 33, 1),
};

/* A mask of nothing: an address without octets takes a long. */
struct no_mask {
	struct ifa_msghdr header;
	long mask;
	PADDED(sockaddr_in) address;
} PACKED no_mask MESSAGE(no_mask) = {
	IFA_MSGHDR(no_mask, RTM_NEWADDR, 3, RTA_IFA | RTA_NETMASK, 0), 0, IN(10, 16, 33, 1),
};

/* The kernel's form of a link-local address, with the interface in its third and fourth octet. */
struct inet6 {
	struct ifa_msghdr header;
	PADDED(sockaddr_in6) mask, address;
} PACKED;
struct inet6 link_local MESSAGE(link_local) = {
	IFA_MSGHDR(link_local, RTM_NEWADDR, 3, RTA_IFA | RTA_NETMASK, 0),
	IN6(255, 255, 255, 255, 255, 255, 255, 255),
	IN6(0xfe, 0x80, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9),
};
struct inet6 global MESSAGE(global) = {
	IFA_MSGHDR(global, RTM_NEWADDR, 3, RTA_IFA | RTA_NETMASK, 0),
	IN6(255, 255, 255, 255, 255, 255, 255, 255),
	IN6(0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1),
};

#define ANNOUNCE(whole, what)                                                                      \
	{                                                                                          \
		.ifan_msglen = sizeof(whole), .ifan_version = RTM_VERSION,                         \
		.ifan_type = RTM_IFANNOUNCE,                                                       \
		HEADER(ifan, if_announcemsghdr, sizeof(struct if_announcemsghdr))                  \
		.ifan_index = 7, .ifan_what = (what), .ifan_name = "vlan7",                        \
	}
struct if_announcemsghdr arrival MESSAGE(arrival) = ANNOUNCE(arrival, IFAN_ARRIVAL);
struct if_announcemsghdr departure MESSAGE(departure) = ANNOUNCE(departure, IFAN_DEPARTURE);

/* What says nothing of interfaces. */
struct rt_msghdr route MESSAGE(route) = {
	.rtm_msglen = sizeof(route), .rtm_version = RTM_VERSION, .rtm_type = RTM_ADD, .rtm_index = 3,
	HEADER(rtm, rt_msghdr, sizeof(struct rt_msghdr))
};
#ifdef __OpenBSD__
struct rt_msghdr desync MESSAGE(desync) = {
	.rtm_msglen = sizeof(desync), .rtm_version = RTM_VERSION, .rtm_type = RTM_DESYNC,
	HEADER(rtm, rt_msghdr, sizeof(struct rt_msghdr))
};
struct ifa_msghdr attributes MESSAGE(attributes) =
    IFA_MSGHDR(attributes, RTM_CHGADDRATTR, 3, 0, 0);
#else
struct ifma_msghdr group MESSAGE(group) = {
	.ifmam_msglen = sizeof(group), .ifmam_version = RTM_VERSION, .ifmam_type = RTM_NEWMADDR,
	.ifmam_index = 3,
};
#endif
